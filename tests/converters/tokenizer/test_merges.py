"""The order of merges: any is kept, in a few bytes where it is near one that can be derived."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
from ggufx.converters.tokenizer.merges import WAYS, decode_order, encode_order, merges_of_pieces


def vocabulary(count: int, seed: int) -> dict[str, int]:
    draw = random.Random(seed)
    texts = {"a", "b", "c", "\n"}
    while len(texts) < count:
        texts.add(draw.choice(sorted(texts)) + draw.choice(("a", "b", "c", "\n")))
    listed = sorted(texts)
    draw.shuffle(listed)
    return {text: i for i, text in enumerate(listed)}


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("by_score", [False, True])
def test_an_order_that_follows_from_the_pieces_takes_no_room(ways, by_score: bool):
    vocab = vocabulary(400, 3)
    scores = [float(-(i * 7919 % 401)) for i in range(400)]
    order = (lambda text: (-scores[vocab[text]], vocab[text])) if by_score else vocab.__getitem__
    pairs = [tuple(way) for way in merges_of_pieces(vocab, order, ways)]
    assert len(pairs) > 500
    name, steps = encode_order(pairs, vocab, scores)
    assert len(steps) < 1000
    assert [tuple(pair) for pair in decode_order(name, steps, vocab, scores)] == pairs


def test_gemma_s_runs_of_spaces_come_first_by_length():
    """As transformers sorts pieces of equal score: a few steps away from the order of the ids."""
    vocab = vocabulary(3000, 5)
    pairs = [tuple(way) for way in merges_of_pieces(vocab, vocab.__getitem__, "longest")]
    runs = sorted((pair for pair in pairs if not (pair[0] + pair[1]).strip("\na")), key=lambda p: (-len(p[0]), -len(p[1])))
    pairs = runs + [pair for pair in pairs if pair not in set(runs)]
    name, steps = encode_order(pairs, vocab, [])
    assert name == "ids longest"
    assert len(steps) < 4 * len(runs) + 400
    assert [tuple(pair) for pair in decode_order(name, steps, vocab, [])] == pairs


def test_any_order_and_any_part_of_the_merges_comes_back():
    vocab = vocabulary(300, 9)
    pairs = [tuple(way) for way in merges_of_pieces(vocab, vocab.__getitem__, "ids")]
    random.Random(1).shuffle(pairs)
    for kept in (pairs, pairs[:100], pairs[:1], [], [pairs[0], pairs[0]]):
        assert [tuple(p) for p in decode_order(*encode_order(kept, vocab, [0.0]), vocab, [0.0])] == kept
    assert encode_order([("zz", "a")], vocab, []) is None, "no way to put a token together"


@pytest.mark.parametrize(("name", "steps"), [
    ("ids up", b""), ("ids", b""), ("ids longest", b"x"), ("ids longest", zlib.compress(b"\0\0\0")),
    ("ids longest", zlib.compress(np.int32([-1]).tobytes())), ("ids longest", zlib.compress(np.int32([10**6]).tobytes())),
    ("ids longest", zlib.compress(bytes(10**8))),
])
def test_damage_is_found_and_a_bomb_does_not_go_off(name: str, steps: bytes):
    with pytest.raises(ValueError, match=r"order|unpack|damaged|header|incomplete|cut off|beyond"):
        decode_order(name, steps, vocabulary(50, 2), [])
