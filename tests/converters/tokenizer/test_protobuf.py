"""SentencePiece's protobuf: the reader against the library's writer, and the writer against the library's reader."""

from __future__ import annotations

import io

import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.tokenizer.protobuf import (
    BPE,
    SentencePieceModel,
    read_model,
    with_charsmap,
    without_charsmap,
    write_model,
)


def spm_model(pieces: list[tuple[str, float, int]], *, kind: int, dummy_prefix: bool, charsmap: bytes = b"") -> bytes:
    """A model as the library's own protobuf classes write it."""
    proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2").ModelProto()
    for text, score, piece_type in pieces:
        row = proto.pieces.add()
        row.piece, row.score, row.type = text, score, piece_type
    proto.trainer_spec.model_type, proto.trainer_spec.byte_fallback = kind, True
    proto.trainer_spec.pad_id = -1
    proto.normalizer_spec.add_dummy_prefix = dummy_prefix
    proto.normalizer_spec.precompiled_charsmap = charsmap
    return proto.SerializeToString()


PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁a", -1.5, 1), ("▁▁", -2.0, 4), ("<0x0A>", 0.0, 6),
          ("é", -1e9, 1), ("a" * 300, -3.25, 5)]


@pytest.mark.parametrize("charsmap", [b"", b"\x00\x01" * 700])
def test_what_the_library_writes_is_read_and_written_byte_for_byte(charsmap: bytes):
    data = spm_model(PIECES, kind=2, dummy_prefix=False, charsmap=charsmap)
    model = read_model(data)
    assert model.pieces == PIECES
    assert (model.model_type, model.byte_fallback, model.add_dummy_prefix, model.charsmap) == (BPE, True, False,
                                                                                             charsmap)
    assert read_model(write_model(model)) == model
    short = without_charsmap(model.rest, charsmap)
    assert sum(len(value) for _, value in short) <= sum(len(value) for _, value in model.rest) - len(charsmap)
    assert with_charsmap(short, charsmap) == model.rest


def test_a_trained_model_comes_back_byte_for_byte():
    sentencepiece = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    lines = [f"some words and {i} numbers, {i * 7} more words" for i in range(300)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="bpe", vocab_size=320, byte_fallback=True,
        minloglevel=2, num_threads=1, character_coverage=1.0)
    data = out.getvalue()
    assert write_model(read_model(data)) == data


def test_the_library_reads_what_is_written_here():
    sentencepiece = pytest.importorskip("sentencepiece")
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((f"<0x{i:02X}>", 0.0, 6) for i in range(256)),
              ("▁a", 0.0, 1), ("ab", -1.0, 1), ("▁", -2.0, 1), ("a", -3.0, 1), ("b", -4.0, 1)]
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(write_model(SentencePieceModel(
        pieces=pieces, model_type=BPE, byte_fallback=True, remove_extra_whitespaces=False)))
    assert processor.vocab_size() == len(pieces)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id()) == (0, 1, 2, -1)
    assert [pieces[i][0] for i in processor.encode("a ab\n")] == ["▁a", "▁a", "b", "<0x0A>"]


GOOD = write_model(SentencePieceModel(pieces=PIECES))


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a model at all", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\x7f",
                                  b"\x08\x01", b"\x0b", GOOD[:-1], b"\x0a\x02\x0a\x05", b"\x0a\x03\x0a\x01\xff",
                                  b"\x0a\x02\x18\x09", b"\xff" * 12, b"\x12\x00"])
def test_damaged_models_are_refused(data: bytes):
    with pytest.raises(InputError, match="not a SentencePiece model"):
        read_model(data, "tokenizer.model")
