"""Malformed GGUF files: each is refused by the field and its byte, and no memory is taken on the file's word.

Sources of the cases: ggml's own handcrafted files (test-gguf.cpp), published advisories on GGUF readers, and measured
differences between three readers. `ggml` marks what ggml's reader accepts although it should not.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import tracemalloc

import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError
from ggufx.converters.io import gguf_cursor
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import strings, u32

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
MEMORY = 16 << 20  # bytes that reading a file of some hundred bytes may take


def text(content: bytes | str, length: int | None = None) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def kv(key: bytes | str, kind: int, payload: bytes = b"") -> bytes:
    return text(key) + struct.pack("<I", kind) + payload


def items(kind: int, count: int, payload: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + payload


def tensor(name: bytes | str = "t", dims: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0,
           n_dims: int | None = None) -> bytes:
    """A row of the tensor table; `dims` innermost first, as the file has them."""
    count = len(dims) if n_dims is None else n_dims
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", count, *dims, kind, offset)


def document(kvs: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), data: int = 0, *, version: int = 3,
             n_tensors: int | None = None, n_kvs: int | None = None, alignment: int = 32) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors,
                                 len(kvs) if n_kvs is None else n_kvs)
    head += b"".join(kvs) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


def valued(kind: int, payload: bytes = b"", key: str = "a") -> bytes:
    return document((kv(key, kind, payload),))


def tabled(data: int, *row, **fields) -> bytes:
    return document((), (tensor(*row, **fields),), data)


ONE = document((kv("a", U8, b"\1"),), (tensor(),), 16)
TWO = (tensor("a"), tensor("b", offset=32))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 123\n"

CASES = {
    # the beginning
    "empty": (b"", InputError, r"is empty"), "joined": (ONE + ONE, InputError, r"another GGUF file follows"),
    "web page": (b"<!DOCTYPE html><html>", InputError, r"a server's answer"),
    "magic only": (b"GGUF", InputError, r"version at byte 4: the file ends at byte 4"),
    "other magic": (b"GGML" + ONE[4:], InputError, r"magic at byte 0: not a GGUF file"),
    "lfs pointer": (POINTER, InputError, r"git-LFS pointer(?s:.*)git lfs pull"),
    "version 0": (document(version=0), UnsupportedError, r"version at byte 4: .*found 0"),
    "version 1": (document(version=1), UnsupportedError, r"version at byte 4: .*expected 2 or 3, found 1"),
    "version 4": (document(version=4), UnsupportedError, r"version at byte 4: .*found 4"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedError, r"version at byte 4: a big-endian GGUF"),
    "tensor count 2^29": (document(n_tensors=2**29), InputError, r"tensor count at byte 8: .*found 536870912"),
    "tensor count 2^64-1": (document(n_tensors=2**64 - 1), InputError, r"tensor count at byte 8"),
    "tensor count + 1": (document((), (tensor(),), 16, n_tensors=2), InputError, r"name of tensor 1 at byte"),
    "key count 2^29": (document(n_kvs=2**29), InputError, r"key-value count at byte 16: too large"),
    "key count 2^63": (document(n_kvs=2**63), InputError, r"key-value count at byte 16"),
    "key count + 1": (document((kv("a", U8, b"\1"),), n_kvs=2), InputError, r"key 1 at byte 38"),
    # keys and values
    "key length 2^64-1": (document((text("a", 2**64 - 1) + bytes(20),)), InputError, r"length of key 0 at byte 24"),
    "key length 2^40": (document((text("a", 2**40) + bytes(20),)), InputError, r"length of key 0 at byte 24"),
    "key of 65536 bytes": (document((kv("k" * 65536, U8, b"\1"),)), InputError, r"length of key 0 at byte 24: too"),
    "key empty": (document((kv("", U32, bytes(4)),)), InputError, r"key 0 at byte 24: a name is printable"),
    "key not UTF-8": (document((kv(b"a\xff", U32, bytes(4)),)), InputError, r"key 0 at byte 33: not UTF-8"),
    "key with NUL": (document((kv("a\0b", U32, bytes(4)),)), InputError, r"key 0 at byte 24: .*'a\\x00b'"),
    "key with escape": (document((kv("\x1b[31m", U32, bytes(4)),)), InputError, r"found '\\x1b\[31m'"),
    "key with right-to-left override": (document((kv("a\u202eb", U32, bytes(4)),)), InputError, r"found 'a\\u202eb'"),
    "key twice": (document((kv("a", U8, b"\1"), kv("a", U8, b"\1"))), InputError, r"key 1 at byte 38: 'a' occurs"),
    "value type 13": (valued(13, bytes(8)), InputError, r"type of a at byte 33: .*found 13"),
    "value type 2^32-1": (valued(2**32 - 1, bytes(8)), InputError, r"type of a at byte 33"),
    "value cut": (document((kv("abc", U64),), alignment=1), InputError, r"abc at byte 39: the file ends at byte 39"),
    "bool 2": (valued(BOOL, b"\2"), InputError, r"a at byte 37: a bool is 0 or 1 .*found 2"),
    "bool array with 3": (valued(ARRAY, items(BOOL, 3, b"\0\1\3")), InputError, r"a\[2\] at byte 51"),
    "string length 2^63": (valued(STRING, text("x", 2**63)), InputError, r"length of a at byte 37"),
    "string length 2^64-8": (valued(STRING, text("x", 2**64 - 8)), InputError, r"length of a at byte 37"),
    "string not UTF-8": (document((kv("a", STRING, text(b"x\xc3(")),)), InputError, r"a at byte 46: not UTF-8"),
    "array item type 13": (valued(ARRAY, items(13, 1, bytes(8))), InputError, r"item type of a at byte 37"),
    "array of arrays": (valued(ARRAY, items(ARRAY, 1, items(U8, 1, b"\1"))), InputError,
                        r"item type of a at byte 37: arrays of arrays"),
    "arrays 2000 deep": (valued(ARRAY, items(ARRAY, 1) * 2000), InputError, r"arrays of arrays"),
    "u8 array of 2^29": (valued(ARRAY, items(U8, 2**29)), InputError, r"length of a at byte 41: too large"),
    "u64 array of 2^61": (valued(ARRAY, items(U64, 2**61)), InputError, r"length of a at byte 41"),
    "i32 array, count wraps": (valued(ARRAY, items(I32, 2**62 + 1, bytes(4))), InputError, r"length of a"),
    "string array of 2^29": (valued(ARRAY, items(STRING, 2**29)), InputError, r"length of a at byte 41"),
    "string array, item too long": (valued(ARRAY, items(STRING, 2, text("x") + text("y", 2**40))),
                                    InputError, r"a\[1\] at byte 58: the file ends"),
    "string array, length wraps": (valued(ARRAY, items(STRING, 2, text("", 2**64 - 8) + text("y"))),
                                   InputError, r"a\[0\] at byte 49: the file ends"),
    "string array cut": (document((kv("a", ARRAY, items(STRING, 2, text("x") + bytes(7))),), alignment=1), InputError,
                         r"a\[1\] at byte 58: the file ends at byte 65"),
    "string array not UTF-8": (valued(ARRAY, items(STRING, 3, text("x") + text(b"\xe2\x82") + text("y"))),
                               InputError, r"a\[1\] at byte 58: not UTF-8"),
    "string array, character over two items": (
        valued(ARRAY, items(STRING, 2, text(b"\xe2\x82" + b"x" * 128) + text(b"\xac"))), InputError,
        r"a\[0\] at byte 49: not UTF-8"),
    "string array, lengths that complete characters": (  # 0xa8 = 168 is a continuation byte
        valued(ARRAY, items(STRING, 2, text(b"\xc3") + text("y" * 168))), InputError, r"a\[0\] .*not UTF-8"),
    # alignment
    "alignment 0": (valued(U32, struct.pack("<I", 0), "general.alignment"), InputError,
                    r"general\.alignment at byte 53: .*found 0"),
    "alignment 33": (valued(U32, struct.pack("<I", 33), "general.alignment"), InputError,
                     r"general\.alignment at byte 53: .*power of two .*found 33"),
    "alignment 2^31": (valued(U32, struct.pack("<I", 2**31), "general.alignment"), InputError,
                       r"general\.alignment at byte 53"),
    "alignment i32": (valued(I32, struct.pack("<i", 32), "general.alignment"), InputError,
                      r"general\.alignment at byte 49: wrong type .*expected UINT32, found INT32"),
    "alignment string": (valued(STRING, text("32"), "general.alignment"), InputError, r"general\.alignment"),
    "alignment 64, offsets for 32": (
        document((kv("general.alignment", U32, struct.pack("<I", 64)),), TWO, 128, alignment=64), InputError,
        r"offset of b at byte 115: .*expected 64, found 32"),
    # the tensor table
    "name of 64 bytes": (tabled(16, "n" * 64), InputError, r"length of name of tensor 0 at byte 24"),
    "name of 300 bytes": (tabled(16, "n" * 300), InputError, r"length of name of tensor 0 at byte 24"),
    "name empty": (document((), (tensor(""), tensor("b", offset=32)), 64), InputError, r"name of tensor 0 at byte 24"),
    "name not UTF-8": (tabled(16, b"\x80"), InputError, r"name of tensor 0 at byte 32: not UTF-8"),
    "name with NUL": (tabled(16, "a\0b"), InputError, r"name of tensor 0 at byte 24: .*'a\\x00b'"),
    "name with newline": (tabled(16, "a\nb"), InputError, r"found 'a\\nb'"),
    "name twice": (document((), (tensor("a"), tensor("a", offset=32)), 64), InputError,
                   r"name of tensor 1 at byte 57: 'a' occurs twice"),
    "5 dimensions": (tabled(4, dims=(1, 1, 1, 1, 1)), InputError,
                     r"dimension count of t at byte 33: .*at most 4, found 5"),
    "2^32-1 dimensions": (tabled(4, n_dims=2**32 - 1), InputError, r"dimension count of t at byte 33"),
    "dimension 2^63": (tabled(4, dims=(2**63,)), InputError, r"dimensions of t at byte 37: .*overflows"),
    "dimension 2^64-1": (tabled(4, dims=(2**64 - 1,)), InputError, r"dimensions of t at byte 37"),
    "product 2^64": (tabled(4, dims=(2**32, 2**32)), InputError, r"dimensions of t at byte 37"),
    "product wraps to 4": (tabled(16, dims=(2**62, 1, 1, 2**3 + 1)), InputError, r"dimensions of t"),
    "product overflows behind a zero": (tabled(0, dims=(2**40, 2**40, 0)), InputError, r"dimensions of t"),
    "bytes overflow": (tabled(16, dims=(2**62,)), InputError, r"tensor t: .*past the end of the file"),
    "exabytes": (tabled(16, dims=(2**60,)), InputError, r"tensor t: .*past the end of the file"),
    "padded sum wraps": (document((), (tensor("a", (2**61,)), tensor("b", (2**61,), offset=2**63),
                                       tensor("c", (4,), offset=0)), 16), InputError,
                         r"offset of c at byte \d+: .*expected 18446744073709551616, found 0"),
    "type 999": (tabled(16, kind=999), UnsupportedError, r"type of t at byte 45: .*found 999"),
    "type removed from ggml": (tabled(16, dims=(32,), kind=4), UnsupportedError, r"type of t at byte 45"),
    "type 2^31": (tabled(16, kind=2**31), UnsupportedError, r"type of t at byte 45"),
    "Q4_K row of 100": (tabled(144, dims=(100,), kind=12), InputError, r"dimensions of t at byte 37: .*256"),
    "Q8_0 scalar": (tabled(34, dims=(), kind=8), InputError, r"dimensions of t at byte 37"),
    "offset 32, nothing before": (tabled(64, offset=32), InputError, r"offset of t at byte 49: .*found 32"),
    "offset unaligned": (document((), (tensor("a"), tensor("b", offset=16)), 64), InputError, r"offset of b"),
    "offset 2^40": (tabled(16, offset=2**40), InputError, r"offset of t"),
    "offset 2^64-32": (tabled(16, offset=2**64 - 32), InputError, r"offset of t"),
    "overlap": (document((), (tensor("a", (16,)), tensor("b", (16,), offset=32)), 96), InputError,
                r"offset of b at byte 82: .*expected 64, found 32"),
    "alias": (document((), (tensor("a"), tensor("b", offset=0)), 48), InputError, r"offset of b"),
    "gap": (document((), (tensor("a"), tensor("b", offset=64)), 96), InputError, r"offset of b"),
    "order reversed": (document((), (tensor("a", offset=32), tensor("b", offset=0)), 64), InputError, r"offset of a"),
    "data cut": (tabled(15), InputError, r"tensor t: the data at byte 64 .*expected 80 bytes, found 79"),
    "data absent": (tabled(0), InputError, r"tensor t: .*the file is cut"),
    "data of the second cut": (document((), TWO, 40), InputError, r"tensor b: .*the file is cut"),
}

SOUND = {
    "no tensors, no keys": document(),
    "without padding at the end": document((kv("a", U8, b"\1"),), alignment=1),
    "one tensor": ONE,
    "last tensor unpadded": document((), TWO, 48),
    "zero elements": document((), (tensor("a", (0,)), tensor("b", (4, 0, 3), offset=0), tensor("c", offset=0)), 16),
    "scalar": tabled(4, dims=()),
    "string array over long and short items": valued(ARRAY, items(STRING, 3, text("é" * 200) + text("") + text("é"))),
    "name of 63 bytes": tabled(16, "n" * 63),
    "alignment of 1": document((kv("general.alignment", U32, struct.pack("<I", 1)),),
                               (tensor("a", (3,), 24), tensor("b", (1,), 24, 3)), 4, alignment=1),
    "version 2": document((kv("a", U8, b"\1"),), (tensor(),), 16, version=2),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_field_and_offset(tmp_path, name):
    content, kind, message = CASES[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=message) as caught:
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert type(caught.value) is kind
    assert caught.value.file == str(path)
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))


@pytest.mark.parametrize("name", SOUND)
def test_sound_oddities_are_read(tmp_path, name):
    path = tmp_path / "m.gguf"
    path.write_bytes(SOUND[name])
    read_gguf(path)


@pytest.mark.parametrize("base", ["empty", "data"])
def test_a_huge_sparse_file_does_not_raise_the_limits(tmp_path, base):
    """Counts that a file of terabytes could hold, in front of nothing but zeros."""
    path = tmp_path / "m.gguf"
    content = {"empty": document(n_tensors=2**32), "data": valued(ARRAY, items(STRING, 2**35))}[base]
    path.write_bytes(content)
    try:
        os.truncate(path, 2**43)
    except OSError:
        pytest.skip("the file system has no sparse files of 8 TiB")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="too large"):
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


RICH = document(
    (kv("general.architecture", STRING, text("llama")), kv("general.alignment", U32, struct.pack("<I", 64)),
     kv("f", F64, bytes(8)), kv("s", ARRAY, items(STRING, 2, text("ab") + text("é"))),
     kv("n", ARRAY, items(I16, 3, bytes(6))), kv("b", BOOL, b"\1")),
    (tensor("a.weight", (64, 2), 8), tensor("b", (3,), 0, 192)), 204, alignment=64)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(RICH)
    assert len(read_gguf(path).tensors) == 2
    for size in range(len(RICH)):
        path.write_bytes(RICH[:size])
        with pytest.raises(InputError):
            read_gguf(path)


def test_every_bit_flip_is_refused_or_read_and_ggml_agrees(tmp_path):
    """No exception but our own; and what is read after a flip, ggml reads too."""
    header = len(RICH) - 204
    path = tmp_path / "m.gguf"
    read = refused = 0
    ggml = _ggml()
    for at in range(8 * header):
        flipped = bytearray(RICH)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            read_gguf(path)
        except GgufxError:
            refused += 1
        else:
            read += 1
            assert ggml is None or _ggml_reads(ggml, path), f"only ggufx reads the file with bit {at} flipped"
    assert read > 100  # text and values may be anything
    assert refused > 1000


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def _ggml():
    library = os.environ.get("GGUFX_LIBGGML")
    if not library:
        return None
    ggml = ctypes.CDLL(library)
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    ggml.gguf_free.argtypes = [ctypes.c_void_p]
    return ggml


def _ggml_reads(ggml, path) -> bool:
    context = ggml.gguf_init_from_file(os.fsencode(path), _InitParams(True, None))
    if context:
        ggml.gguf_free(context)
    return bool(context)


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "socket", "loop", "absent", "nul"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path, monkeypatch, kind):
    path = tmp_path / "m.gguf"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the path of a socket is limited to about 100 bytes
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "nul":
        path = tmp_path / "a\0b"
    with pytest.raises(InputError):
        read_gguf(path)


def test_many_tensors_take_linear_work(tmp_path, monkeypatch):
    """100,000 tensors and 200,000 strings: each header byte is read once."""
    laid = layout([(f"blk.{i}.weight", "F32", (1,)) for i in range(100_000)])
    header = encode_header({"tokens": strings([f"t{i}" for i in range(200_000)]), "z": u32(1)}, laid)
    path = tmp_path / "m.gguf"
    path.write_bytes(header)
    os.truncate(path, len(header) + laid[-1].offset + 4)
    reads = []
    read_at = gguf_cursor.read_at

    def counted(file, offset, count, path):
        reads.append(count)
        return read_at(file, offset, count, path)

    monkeypatch.setattr(gguf_cursor, "read_at", counted)
    found = read_gguf(path)
    assert len(found.tensors) == 100_000
    assert found.tensors["blk.99999.weight"].offset == len(header) + laid[-1].offset
    assert len(reads) < 10
    assert sum(reads) <= 2 * len(header)
