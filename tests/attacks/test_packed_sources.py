"""Hostile packed checkpoints: parts of any shape, type and value are refused or decoded, and cost no memory."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.sources.packed.forms import FORMS
from ggufx.converters.sources.packed.logical import open_logical
from ggufx.converters.sources.packed.tensor import PackedTensor
from ggufx.quant.formats import ELEMENT_TYPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zoo.packed import decoded

M = "model.layers.0.m"
LIMIT = 32 << 20


def write(folder: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]], config: dict) -> Path:
    """A checkpoint of tensors (type, shape, bytes or, for what is too large to write, the start of them)."""
    header, offset = {}, 0
    for name, (kind, shape, _) in tensors.items():
        size = ELEMENT_TYPES[kind].nbytes(int(np.prod(shape, dtype=object)))
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        begin = file.tell()
        for name, (_, _, data) in tensors.items():
            file.seek(begin + header[name]["data_offsets"][0])
            file.write(data)
        file.truncate(begin + offset)  # a hole: claims cost the attacker nothing
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def opened(folder: Path) -> None:
    """It is opened, or refused, in little memory."""
    tracemalloc.start()
    try:
        open_logical(folder)
    except GgufxError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < LIMIT


KINDS = [kind for kind, t in ELEMENT_TYPES.items() if t.width]
SETTINGS = ("bits", "group_size", "weight_block_size", "sym", "mode", "version", "config_groups", "checkpoint_format",
            "linear_class", "num_bits", M)
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8, 16, 31, 32, 64, 96, 255, 1 << 20]), max_size=3).map(tuple)
numbers = st.sampled_from([b"", b"\xff" * 64, bytes(range(64)), b"{}", b'{"shape": [1e9, -1], "blocksize": 0}',
                           np.array([1 << 40, -1], np.int64).tobytes(), np.array([32, 64], np.int64).tobytes()])
values = st.one_of(st.none(), st.booleans(), st.integers(-3, 1 << 40), st.sampled_from([4, 8, 32]), st.text(max_size=3),
                   st.lists(st.integers(-1, 200), max_size=3))


@st.composite
def checkpoints(draw) -> tuple[dict[str, tuple[str, tuple[int, ...], bytes]], dict]:
    """The parts of one form, or most of them, of any types, shapes and values."""
    form = draw(st.sampled_from(FORMS))
    tensors = {}
    for role, templates in {"codes": (form.codes,), **form.parts}.items():
        if role in ("codes", *form.needs) or draw(st.booleans()):
            name = draw(st.sampled_from(templates)).replace("{w}", f"{M}.weight").replace("{m}", M)
            kind = draw(st.sampled_from(form.types if role == "codes" else KINDS))
            shape, data = draw(shapes), draw(numbers)
            if (size := ELEMENT_TYPES[kind].nbytes(int(np.prod(shape, dtype=object)))) < 1 << 34:
                tensors[name] = kind, shape, data[:size]
    declared = draw(st.dictionaries(st.sampled_from(SETTINGS), values, max_size=4))
    return tensors, {**declared, **({"quant_method": form.methods[0]} if form.methods else {})}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=checkpoints())
def test_any_parts(tmp_path: Path, made):
    """What is taken can be decoded, or says why not."""
    tensors, declared = made
    if not tensors:
        return
    folder = write(tmp_path, tensors, {"quantization_config": declared})
    opened(folder)
    try:
        found = list(open_logical(folder).tensors.values())
    except GgufxError:
        return
    for tensor in found:
        if isinstance(tensor, PackedTensor) and 0 < np.prod(tensor.shape, dtype=object) < 1 << 20:
            with contextlib.suppress(ValueError), np.errstate(all="ignore"):
                assert decoded(tensor).shape == tensor.shape


STATE = b'{"quant_type": "nf4", "blocksize": 64, "shape": [%d, %d], "dtype": "bfloat16"}'
GIANT = 1 << 36


@pytest.mark.parametrize("tensors", [
    {f"{M}.weight": ("F8_E4M3", (GIANT, 1), b""), f"{M}.weight_scale_inv": ("F32", (GIANT // 128, 1), b"")},
    {f"{M}.qweight": ("I32", (8, GIANT // 64), b""), f"{M}.qzeros": ("I32", (1, GIANT // 512), b""),
     f"{M}.scales": ("F16", (1, GIANT // 64), b""), f"{M}.g_idx": ("I32", (64,), b"\xff" * 64)},
    {f"{M}.weight_packed": ("I32", (1 << 20, 1 << 10), b""), f"{M}.weight_scale": ("F32", (1 << 20, 1), b""),
     f"{M}.weight_shape": ("I64", (2,), np.array([1 << 20, 1 << 62]).tobytes())},
    {f"{M}.weight": ("U8", (64, 1), b""), f"{M}.weight.absmax": ("F32", (2,), b""),
     f"{M}.weight.quant_map": ("F32", (16,), b""),
     f"{M}.weight.quant_state.bitsandbytes__nf4": ("U8", (74,), STATE % (1 << 39, 1 << 39))},
    {f"{M}.weight_packed": ("U8", (1, 1 << 30), b""), f"{M}.weight_scale": ("F8_E4M3", (1, 1 << 27), b""),
     f"{M}.weight_global_scale": ("F32", (1 << 30,), b"")},
    {f"{M}.W_q": ("U8", (1, 1), b""), f"{M}.scale": ("F32", (1,), b""), f"{M}.zero": ("F32", (1,), b""),
     f"{M}.nbits": ("I64", (1 << 28,), b""), f"{M}.group_size": ("I64", (), b"\x01" + b"\0" * 7),
     f"{M}.shape": ("I64", (2,), b""), f"{M}.axis": ("I64", (), b"")},
    {"model.layers.0.mlp.switch_mlp.up_proj.weight": ("F32", (GIANT, 1), b"")},
    {"model.layers.0.mlp.switch_mlp.up_proj.weight": ("F32", (1 << 16, GIANT >> 16), b"")},
], ids=range(8))  # fmt: skip
def test_giant_claims(tensors, tmp_path: Path):
    opened(write(tmp_path, tensors, {}))
