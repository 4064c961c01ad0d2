"""`.bin` files: byte ranges equal torch's own tensors; code, compression and contradictions are refused."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from ggufx.converters.errors import GgufxError, InputError, ManyErrors, UnsupportedError
from ggufx.converters.io.torch_pickle import read_torch_pickle

BASE = torch.arange(24, dtype=torch.float32).reshape(6, 4)
STATE = OrderedDict(
    whole=BASE, rows=BASE[2:4], parameter=torch.nn.Parameter(torch.ones(2)), half=torch.ones(3, 3, dtype=torch.float16),
    brain=torch.full((5,), 2.0, dtype=torch.bfloat16), scalar=torch.tensor(3), empty=torch.zeros(0, 3),
    f8=torch.ones(4).to(torch.float8_e4m3fn), flag=torch.tensor([True]), column=torch.ones(7, 1),
)


def rewritten(source, target, change=lambda name, content: content, compression=zipfile.ZIP_STORED, extra=()):
    """The zip file again, record by record."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            content = change(entry.filename.partition("/")[2], old.read(entry))
            if content is not None:
                new.writestr(entry.filename, content)
        for name, content in extra:
            new.writestr(name, content)
    return target


def test_byte_ranges_are_the_tensors(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save(STATE, path)
    found = read_torch_pickle(path)
    assert list(found) == list(STATE)
    raw = path.read_bytes()
    for name, tensor in STATE.items():
        source = found[name]
        assert (source.shape, source.file) == (tuple(tensor.shape), path)
        stored = tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        assert raw[source.offset:source.offset + source.nbytes] == stored
    assert {name: source.type for name, source in found.items()} == {
        "whole": "F32", "rows": "F32", "parameter": "F32", "half": "F16", "brain": "BF16", "scalar": "I64",
        "empty": "F32", "f8": "F8_E4M3", "flag": "BOOL", "column": "F32"}


def test_tensors_without_a_byte_range_are_named_together(tmp_path):
    path = tmp_path / "x.bin"
    torch.save({"a": BASE.t(), "b": BASE, "c": torch.eye(3).to_sparse(), "d": BASE[:, 1:]}, path)
    with pytest.raises(ManyErrors) as caught:
        read_torch_pickle(path)
    assert [(type(p), p.tensor) for p in caught.value.problems] == [(UnsupportedError, name) for name in "acd"]
    assert "safetensors" in caught.value.problems[0].hint


@pytest.mark.parametrize("state", [{"epoch": 3, "w": BASE}, {"state_dict": {"w": BASE}}, [BASE], BASE, {1: BASE},
                                   {"a\x1b": BASE}])
def test_what_is_no_state_dict(tmp_path, state):
    torch.save(state, tmp_path / "x.bin")
    with pytest.raises(InputError):
        read_torch_pickle(tmp_path / "x.bin")


def test_format_before_torch_1_6(tmp_path):
    torch.save({"a": BASE}, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedError, match=r"since 1\.6"):
        read_torch_pickle(tmp_path / "x.bin")


def test_old_torch_is_refused(tmp_path, monkeypatch):
    torch.save({"a": BASE}, tmp_path / "x.bin")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(UnsupportedError, match=r"expected 2\.10 or newer, found 2\.9\.1"):
        read_torch_pickle(tmp_path / "x.bin")


# ------------------------------------------------------------------------------------------------------------- attacks


class Exploit:
    def __init__(self, function, *args) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", ["os.system", "eval", "getattr"])
def test_code_is_not_run(tmp_path, function):
    canary = tmp_path / "canary"
    exploit = {"os.system": Exploit(os.system, f"touch {canary}"), "eval": Exploit(eval, f"open({str(canary)!r}, 'w')"),
               "getattr": Exploit(getattr, "x", "upper")}[function]
    torch.save({"a": exploit, "b": BASE}, tmp_path / "x.bin")
    with pytest.raises(InputError, match=r"data\.pkl: not the pickle of a plain state dict: .*nsupported") as caught:
        read_torch_pickle(tmp_path / "x.bin")
    assert not canary.exists()
    assert "weights_only" not in str(caught.value)  # torch's advice to switch the guard off is not passed on


@pytest.fixture
def good(tmp_path):
    torch.save({"a": BASE, "b": torch.ones(8, dtype=torch.uint8)}, tmp_path / "good.bin")
    return tmp_path / "good.bin"


def test_deflated_records_and_zip_bombs(good, tmp_path):
    with pytest.raises(InputError, match="is compressed"):
        read_torch_pickle(rewritten(good, tmp_path / "x.bin", compression=zipfile.ZIP_DEFLATED))
    bomb = rewritten(good, tmp_path / "x.bin", lambda name, raw: bytes(50 << 20) if name == "data/0" else raw,
                     zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="is compressed"):
        read_torch_pickle(bomb)


@pytest.mark.parametrize(("change", "message"), [
    (lambda name, raw: None if name == "data.pkl" else raw, r"data\.pkl: absent"),
    (lambda name, raw: b"" if name == "data.pkl" else raw, r"data\.pkl: absent, empty"),
    (lambda name, raw: b"junk" if name == "data.pkl" else raw, r"data\.pkl: not the pickle"),
    (lambda name, raw: raw[:30] if name == "data.pkl" else raw, r"data\.pkl: not the pickle"),
    (lambda name, raw: pickle.dumps({"a": 1}, 2) if name == "data.pkl" else raw, r"tensor a: not a tensor"),
    (lambda name, raw: None if name == "data/0" else raw, r"data\.pkl|record"),
    (lambda name, raw: raw[:40] if name == "data/0" else raw, r"tensor a: .*no record"),
    (lambda name, raw: raw + bytes(8) if name == "data/0" else raw, r"tensor a: .*no record"),
])
def test_contradicting_records(good, tmp_path, change, message):
    with pytest.raises(GgufxError, match=message) as caught:
        read_torch_pickle(rewritten(good, tmp_path / "x.bin", change))
    assert {type(p) for p in getattr(caught.value, "problems", [caught.value])} == {InputError}


def test_big_endian_checkpoints(good, tmp_path):
    with pytest.raises(UnsupportedError, match="byteorder: only little-endian"):
        read_torch_pickle(rewritten(good, tmp_path / "x.bin", lambda name, raw: b"big" if name == "byteorder" else raw))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_record_twice(good, tmp_path):
    with pytest.raises(InputError, match="names a record twice"):
        read_torch_pickle(rewritten(good, tmp_path / "x.bin", extra=[("good/data.pkl", b"other")]))


def test_records_that_overlap(good, tmp_path):
    """Two directory entries for one record's bytes: the trick of bombs without compression."""
    raw = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        offsets = {entry.filename: entry.header_offset for entry in archive.infolist()}
    at = raw.index(b"PK\x01\x02")
    while raw[at:at + 4] == b"PK\x01\x02":
        name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<HHH", raw, at + 28)
        if raw[at + 46:at + 46 + name_bytes] == b"good/data/1":
            struct.pack_into("<I", raw, at + 42, offsets["good/data/0"])
        at += 46 + name_bytes + extra_bytes + comment_bytes
    (tmp_path / "x.bin").write_bytes(raw)
    with pytest.raises(InputError, match="overlaps another"):
        read_torch_pickle(tmp_path / "x.bin")


@pytest.mark.parametrize("offset", [4 << 20, 0xFFFFFFF0])
def test_record_outside_of_the_file(good, tmp_path, offset):
    raw = bytearray(good.read_bytes())
    at = raw.index(b"PK\x01\x02")
    struct.pack_into("<I", raw, at + 42, offset)
    (tmp_path / "x.bin").write_bytes(raw)
    with pytest.raises(InputError, match=r"no local header|zip directory"):
        read_torch_pickle(tmp_path / "x.bin")


def test_truncation_is_refused(good, tmp_path):
    raw = good.read_bytes()
    for size in [*range(0, 70), *range(70, len(raw), 37), len(raw) - 1]:
        (tmp_path / "x.bin").write_bytes(raw[:size])
        with pytest.raises(GgufxError):
            read_torch_pickle(tmp_path / "x.bin")


def test_records_named_outside_of_the_archive_are_never_written(good, tmp_path):
    (tmp_path / "in").mkdir()
    path = rewritten(good, tmp_path / "in" / "x.bin", extra=[("../../escaped", b"x"), ("/tmp_escaped", b"x")])
    before = sorted(tmp_path.rglob("*"))
    try:
        found = read_torch_pickle(path)
    except GgufxError:
        found = {}
    assert set(found) <= {"a", "b"}
    assert sorted(tmp_path.rglob("*")) == before


def test_storage_that_claims_more_than_its_record(good, tmp_path):
    """A pickle whose storage is larger than the record would reach into its neighbours (a leak into the output)."""
    count = b"K\x18tq\x07Q"  # 24 elements, the end of the storage's tuple, its persistent id
    raw = good.read_bytes()
    assert raw.count(count) == 1
    claimed = raw.replace(count, b"K\x1atq\x07Q")
    (tmp_path / "x.bin").write_bytes(claimed)  # torch does not look at the checksum of the pickle
    with pytest.raises(InputError, match=r"tensor a: its storage of 104 bytes at byte \d+ is no record"):
        read_torch_pickle(tmp_path / "x.bin")
    (tmp_path / "x.bin").write_bytes(raw.replace(b"K\x00K\x06K\x04", b"K\x04K\x06K\x04"))  # begins late, ends late
    with pytest.raises(InputError, match=r"tensor a: its storage of 112 bytes at byte \d+ is no record"):
        read_torch_pickle(tmp_path / "x.bin")


def test_a_state_of_training_says_where_the_weights_are(tmp_path):
    torch.save({"step": 5, "model": {"a": torch.zeros(2)}, "optimizer": {"state": {}}}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"the weights under 'model'(?s:.*)torch\.load\(.*pytorch_model\.bin'\)\['model'\]"):
        read_torch_pickle(tmp_path / "pytorch_model.bin")
