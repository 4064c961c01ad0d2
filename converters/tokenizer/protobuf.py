"""SentencePiece's `tokenizer.model`: the few fields of its protobuf that a tokenizer needs, read and written.

Source: sentencepiece_model.proto (field numbers, defaults) and the protobuf wire format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import InputError

UNIGRAM, BPE = 1, 2
_NORMAL = 1  # the default type of a piece
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(slots=True)
class SentencePieceModel:
    """`pieces` are (text, score, type); the types have the numbers of `TokenType`. Ids below zero mean "none".

    `rest` keeps every other field of a file that was read, in order, as (field number, bytes): with it, what is written
    has the fields of the original, known to us or not. `spelled_out`: pieces of the default type say so.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    rest: list[tuple[int, bytes]] = field(default_factory=list)
    spelled_out: bool = False


class _Truncated(ValueError):
    pass


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _Truncated(f"broken number at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value): an int for varints, bytes for everything else."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _Truncated(f"field number 0 at byte {at}")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise _Truncated(f"unknown wire type {wire} at byte {at}")
        if size > end - at:
            raise _Truncated(f"a field of {size} bytes at byte {at} goes beyond the end ({end})")
        yield number, data[at:at + size]
        at += size


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _Truncated("a number was expected, found bytes")
    return value - (1 << 64) if value >> 63 else value


def _piece(data: bytes) -> tuple[str, float, int | None]:
    text, score, kind = "", 0.0, None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes) and len(value) == 4:
            (score,) = struct.unpack("<f", value)
        elif number == 3:
            kind = _signed(value)
    if kind is not None and not 1 <= kind <= 6:
        raise _Truncated(f"piece {text!r} is of unknown type {kind}")
    return text, score, kind


_TRAINER_SPEC, _NORMALIZER_SPEC = 2, 3
_TRAINER = {3: "model_type", 35: "byte_fallback", 40: "unk_id", 41: "bos_id", 42: "eos_id", 43: "pad_id"}
_NORMALIZER = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces"}


def read_model(data: bytes, file: object = None) -> SentencePieceModel:
    """Parse a SentencePiece model. Raises InputError where the bytes are not one."""
    model = SentencePieceModel()
    try:
        for number, value in _fields(data):
            if not isinstance(value, bytes):
                raise _Truncated(f"field {number} is a number")
            if number == 1:
                text, score, kind = _piece(value)
                model.spelled_out |= kind == _NORMAL
                model.pieces.append((text, score, kind or _NORMAL))
                continue
            model.rest.append((number, value))
            if number == _TRAINER_SPEC:
                _assign(model, value, _TRAINER)
            elif number == _NORMALIZER_SPEC:
                _assign(model, value, _NORMALIZER)
                model.charsmap = _charsmap(value)
    except (_Truncated, UnicodeDecodeError) as err:
        raise InputError(f"not a SentencePiece model: {err}", file=None if file is None else str(file)) from err
    if not model.pieces:
        raise InputError("not a SentencePiece model: it has no pieces", file=None if file is None else str(file))
    return model


def _charsmap(normalizer: bytes) -> bytes:
    return next((value for number, value in _fields(normalizer) if number == 2 and isinstance(value, bytes)), b"")


def _assign(model: SentencePieceModel, data: bytes, names: dict[int, str]) -> None:
    for number, value in _fields(data):
        if name := names.get(number):
            signed = _signed(value)
            setattr(model, name, bool(signed) if isinstance(getattr(model, name), bool) else signed)


def _encode_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _encode_varint(number << 3 | _VARINT) + _encode_varint(value)


def _blob(number: int, value: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(value)) + value


def write_model(model: SentencePieceModel) -> bytes:
    """Serialize, fields in ascending order. What `read_model` reads comes back equal."""
    out = bytearray()
    for text, score, kind in model.pieces:
        piece = _blob(1, text.encode("utf-8")) + b"\x15" + struct.pack("<f", score)
        out += _blob(1, piece + _number(3, kind) if kind != _NORMAL or model.spelled_out else piece)
    for number, value in model.rest or _specs(model):
        out += _blob(number, value)
    return bytes(out)


def _specs(model: SentencePieceModel) -> list[tuple[int, bytes]]:
    """Trainer and normalizer specification of a model that was made here."""
    trainer = _number(3, model.model_type) + _number(4, len(model.pieces)) + _number(35, model.byte_fallback)
    for number, value in ((40, model.unk_id), (41, model.bos_id), (42, model.eos_id), (43, model.pad_id)):
        trainer += _number(number, value)
    for number, index in ((45, model.unk_id), (46, model.bos_id), (47, model.eos_id), (48, model.pad_id)):
        if 0 <= index < len(model.pieces):
            trainer += _blob(number, model.pieces[index][0].encode("utf-8"))
    normalizer = _blob(1, b"" if model.charsmap else b"identity") + _blob(2, model.charsmap)
    normalizer += _number(3, model.add_dummy_prefix) + _number(4, model.remove_extra_whitespaces) + _number(5, 1)
    return [(_TRAINER_SPEC, trainer), (_NORMALIZER_SPEC, normalizer)]


def without_charsmap(rest: list[tuple[int, bytes]], charsmap: bytes) -> list[tuple[int, bytes]]:
    """The specifications with the character map cut out; `with_charsmap` puts it back."""
    blob = _blob(2, charsmap)
    return [(number, value.replace(blob, _blob(2, b""), 1) if number == _NORMALIZER_SPEC and charsmap else value)
            for number, value in rest]


def with_charsmap(rest: list[tuple[int, bytes]], charsmap: bytes) -> list[tuple[int, bytes]]:
    empty = _blob(2, b"")
    if not charsmap:
        return rest
    found = []
    for number, value in rest:
        if number == _NORMALIZER_SPEC:
            at = 0
            for inner, content in _fields(value):
                if inner == 2 and content == b"":
                    value = value[:at] + _blob(2, charsmap) + value[at + len(empty):]
                    break
                at += len(_blob(inner, content)) if isinstance(content, bytes) else len(_number(inner, content))
        found.append((number, value))
    return found
