"""PyTorch's `.bin` checkpoints: names, shapes and byte ranges without loading a tensor.

A `.bin` is a zip file of stored (never deflated) records and a pickle that says which record is which tensor. The
pickle is read by torch with `weights_only=True` onto the meta device, which runs no code from the file, allocates no
data and tells where in the file each storage begins. What it tells is believed only where it agrees with the zip
directory: a tensor lies inside one whole stored record.
Source: torch.serialization ("Serialization semantics", layout control), the zip file format.
"""

from __future__ import annotations

import struct
import warnings
import zipfile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...quant.formats import ELEMENT_TYPES
from ..errors import GgufxError, InputError, UnsupportedError, raise_all
from .files import open_regular, printable, read_at, refuse_stand_in
from .safetensors import MAX_PROBLEMS
from .tensors import StoredTensor

if TYPE_CHECKING:
    import torch

MIN_TORCH = (2, 10)  # below, weights_only could be made to run code or corrupt memory (CVE-2025-32434, CVE-2026-24747)
MAX_PICKLE_BYTES = 256 << 20
MAX_RECORDS = 1 << 20

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, name length, extra length
_DTYPES = {t.torch: t.name for t in ELEMENT_TYPES.values() if t.torch}


def read_torch_pickle(path: str | Path) -> dict[str, StoredTensor]:
    """The tensors of a state dict saved by torch >= 1.6, in the order of the pickle; no tensor byte is read.

    Raises `InputError` for a damaged or hostile file, `UnsupportedError` for what has no plain byte range (tensors that
    are not contiguous, sparse or quantized ones), for the format before torch 1.6 and if torch is older than 2.10.
    """
    path = Path(path)
    with open_regular(path) as (file, size):
        start = read_at(file, 0, min(size, 64), path)
        refuse_stand_in(start, path)
        if not start.startswith(b"PK\x03\x04"):
            raise UnsupportedError("not a zip file, as torch writes them since 1.6", file=path, found=start[:4],
                                   hint=_HINT)
        records = _stored_records(file, size, path)
    state = _load_on_meta(path)

    problems: list[GgufxError] = []
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in state.items():
        try:
            tensors[name] = _located(name, tensor, records, path)
        except GgufxError as error:
            problems.append(error)
            if len(problems) == MAX_PROBLEMS:
                break
    raise_all(problems)
    return tensors


_HINT = "save the model again as safetensors, with `save_pretrained` of transformers"


def _stored_records(file: BinaryIO, size: int, path: Path) -> dict[int, int]:
    """First data byte -> size of each storage record; the zip is proved free of compression, repeats and overlap."""
    try:
        with zipfile.ZipFile(file) as archive:  # type: ignore[arg-type]
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, struct.error, NotImplementedError) as error:
        raise InputError(f"the zip directory cannot be read ({error})", file=path) from None
    if len(entries) > MAX_RECORDS or len({entry.filename for entry in entries}) != len(entries):
        raise InputError("the zip directory names a record twice, or too many", file=path, found=len(entries))

    spans: list[tuple[int, int, zipfile.ZipInfo]] = []
    for entry in entries:
        shown = printable(entry.filename)
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise InputError(f"record {shown} is compressed or encrypted, torch stores records as they are", file=path)
        header = read_at(file, entry.header_offset, _LOCAL_HEADER.size, path) \
            if 0 <= entry.header_offset <= size - _LOCAL_HEADER.size else b""
        if not header.startswith(b"PK\x03\x04"):
            raise InputError(f"record {shown}: no local header at byte {entry.header_offset}", file=path)
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        spans.append((entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes, entry.file_size, entry))
    spans.sort(key=lambda span: span[:2])
    end = 0
    for begin, length, entry in spans:
        if entry.header_offset < end or begin + length > size:
            raise InputError(f"record {printable(entry.filename)} overlaps another or passes the file's end", file=path)
        end = begin + length

    by_name = {entry.filename.partition("/")[2]: (begin, length) for begin, length, entry in spans}
    pickle_bytes = by_name.get("data.pkl", (0, 0))[1]
    if not 0 < pickle_bytes <= MAX_PICKLE_BYTES:
        raise InputError("data.pkl: absent, empty or too large", file=path,
                         expected=f"at most {MAX_PICKLE_BYTES} bytes", found=pickle_bytes)
    if "byteorder" in by_name:
        order = read_at(file, *by_name["byteorder"], path)
        if order != b"little":
            raise UnsupportedError("byteorder: only little-endian checkpoints are read", file=path, found=order[:8])
    return {begin: length for name, (begin, length) in by_name.items() if name.startswith("data/") and length}


def _load_on_meta(path: Path) -> dict[str, torch.Tensor]:
    try:
        import torch
    except ImportError as error:  # a platform without it, or an image that left it out: nothing else here needs it
        raise UnsupportedError("a pickled checkpoint is read with torch, which cannot be imported", file=path, found=str(error),
                               hint="pip install torch, or take the model's safetensors files.") from error
    if tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2]) < MIN_TORCH:
        raise UnsupportedError("reading a pickle safely needs a newer torch", file=path, expected="2.10 or newer",
                               found=torch.__version__, hint="pip install --upgrade torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and the like
            state: Any = torch.load(path, map_location="meta", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot be read: {error}", file=path) from error
    except Exception as error:  # a hostile pickle can make torch raise anything
        # torch's own first lines advise to load without weights_only: not passed on
        reason = next((line.strip() for line in str(error).splitlines() if "nsupported" in line), type(error).__name__)
        raise InputError(f"data.pkl: not the pickle of a plain state dict: {printable(reason, 200)}", file=path,
                         hint=_HINT) from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise InputError("not a state dict", file=path, found=type(state).__name__)
    inner = next((name for name, held in state.items() if name.isprintable() and isinstance(held, dict) and held
                  and all(isinstance(value, torch.Tensor) for value in held.values())), None)
    if inner is not None:
        raise InputError(f"a state of training, which has the weights under {inner!r}", file=path,
                         hint=f"Take them out: `torch.save(torch.load('{path}')[{inner!r}], 'OUT/pytorch_model.bin')`, with "
                              "config.json and the tokenizer files beside.")
    return state


def _located(name: str, tensor: Any, records: dict[int, int], path: Path) -> StoredTensor:
    import torch

    shown = printable(name)
    if not name or not name.isprintable():
        raise InputError("a tensor's name is printable text", file=path, tensor=shown)
    if not isinstance(tensor, torch.Tensor):
        raise InputError("not a tensor: this is a training state, or another dict than the weights", file=path,
                         tensor=shown, found=type(tensor).__name__)
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise UnsupportedError("sparse and quantized tensors have no plain bytes", file=path, tensor=shown, hint=_HINT)
    dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None:
        raise UnsupportedError("dtype: none that ggufx knows", file=path, tensor=shown, found=tensor.dtype)
    shape = tuple(tensor.shape)
    nbytes = ELEMENT_TYPES[dtype].nbytes(prod(shape))
    if not prod(shape):
        return StoredTensor(name, dtype, shape, path, 0, 0)
    if not tensor.is_contiguous():
        raise UnsupportedError("not contiguous in the file", file=path, tensor=shown,
                               found=f"strides {tensor.stride()}", hint=_HINT)
    storage = tensor.untyped_storage()
    begin = getattr(storage, "_checkpoint_offset", None)
    held = None if begin is None else records.get(begin)
    if begin is None or held is None or held != storage.nbytes():
        raise InputError(f"its storage of {storage.nbytes()} bytes at byte {begin} is no record of the zip file",
                         file=path, tensor=shown, hint=_HINT)
    first = tensor.storage_offset() * tensor.element_size()
    if first + nbytes > held:
        raise InputError("reaches past the end of its storage", file=path, tensor=shown,
                         expected=f"at most {held} bytes", found=first + nbytes)
    return StoredTensor(name, dtype, shape, path, begin + first, nbytes)
