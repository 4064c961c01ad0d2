"""Merges of a BPE vocabulary: derived from its pieces, and told apart from what was derived.

SentencePiece and rank files have no merges; whoever makes a tokenizer.json of them derives every way to put a piece together
from two. The ways are the same everywhere, their order is not. So merges are kept as one of a few orders that they can be
derived in, and the steps that lead away from it: some bytes to kB, where the texts take 9 MB for Gemma.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

MergeOrder = Literal["longest", "shortest", "ids"]
WAYS: tuple[MergeOrder, ...] = ("longest", "ids", "shortest")
_ENOUGH = 4096  # bytes; an order that comes so close is not improved upon
_SAMPLE = 20_000  # merges


def merges_of_pieces(ids: Mapping[str, int], order: Callable[[str], Any], ways: MergeOrder) -> Iterator[list[str]]:
    """Every way to put a piece together from two, pieces in the order of `order`: what transformers derives from a
    SentencePiece vocabulary. The ways to one piece come with the longest left part first, or the shortest, or by the
    ids of their parts; it depends on the version."""
    lengths = {len(piece) for piece in ids} - {0}  # few: a piece of a million characters is not cut a million times
    longest_first = sorted(lengths, reverse=True)
    for piece in sorted((piece for piece in ids if len(piece) > 1), key=order):
        found = [[piece[:cut], piece[cut:]] for cut in longest_first
                 if len(piece) - cut in lengths and piece[:cut] in ids and piece[cut:] in ids]
        if len(found) > 1 and ways != "longest":
            found.sort(key=lambda way: (ids[way[0]], ids[way[1]]) if ways == "ids" else len(way[0]))
        yield from found


def _derived(vocab: Mapping[str, int], scores: Sequence[float] | None, ways: MergeOrder) -> list[list[str]]:
    """By score where there are scores, then by id."""
    if scores is None:
        return list(merges_of_pieces(vocab, vocab.__getitem__, ways))
    size = len(scores)
    return list(merges_of_pieces(
        vocab, lambda text: (-scores[vocab[text]] if vocab[text] < size else 0.0, vocab[text]), ways))


def encode_order(pairs: Sequence[tuple[str, str]], vocab: Mapping[str, int],
                 scores: Sequence[float]) -> tuple[str, bytes] | None:
    """The name of a derived order and the way from it to `pairs`: int32 steps between places, less one, deflated. None where
    `pairs` holds what is no way to put a token together."""
    best: tuple[str, bytes] | None = None
    for by, ways in _likely_orders(pairs, vocab, scores):
        place = {tuple(way): i for i, way in enumerate(_derived(vocab, scores if by == "scores" else None, ways))}
        places = np.fromiter((place.get(pair, -1) for pair in pairs), np.int32, len(pairs))
        if (places < 0).any():
            return None
        steps = zlib.compress(np.diff(places, prepend=np.int32(-1)).astype("<i4") - 1, 9)
        if best is None or len(steps) < len(best[1]):
            best = f"{by} {ways}", steps
        if len(best[1]) <= _ENOUGH:
            break
    return best


def _likely_orders(pairs: Sequence[tuple[str, str]], vocab: Mapping[str, int],
                   scores: Sequence[float]) -> list[tuple[str, MergeOrder]]:
    """All orders, those first that more neighbours among some merges are in: deriving one takes seconds."""
    some = pairs[len(pairs) // 2:len(pairs) // 2 + _SAMPLE]
    met = dict.fromkeys((*WAYS, "ids_of", "scores_of"), 0)
    for (left, right), (next_left, next_right) in pairwise(some):
        one, other = vocab.get(left + right, 0), vocab.get(next_left + next_right, 0)
        if one == other:
            met["longest"] += len(left) > len(next_left)
            met["shortest"] += len(left) < len(next_left)
            met["ids"] += (vocab.get(left, 0), vocab.get(right, 0)) < (vocab.get(next_left, 0), vocab.get(next_right, 0))
        else:
            met["ids_of"] += one < other
            met["scores_of"] += max(one, other) < len(scores) and scores[one] > scores[other]
    return [(by, ways) for by in sorted(("ids", "scores"), key=lambda by: -met[f"{by}_of"])
            for ways in sorted(WAYS, key=lambda ways: -met[ways])]


def decode_order(name: str, steps: bytes, vocab: Mapping[str, int], scores: Sequence[float]) -> list[list[str]]:
    """The pairs behind what `encode_order` gave. Raises ValueError where it is damaged."""
    by, ways = name.split(" ")
    if by not in ("ids", "scores") or ways not in WAYS:
        raise ValueError(f"no such order: {name}")
    derived = _derived(vocab, scores if by == "scores" else None, ways)
    raw = inflated(steps, 8 * len(derived) + 4)  # twice as many as there can be
    if len(raw) % 4:
        raise ValueError("the steps are damaged")
    places = np.cumsum(np.frombuffer(raw, "<i4").astype(np.int64) + 1) - 1
    if places.size and (places.min() < 0 or places.max() >= len(derived)):
        raise ValueError("a step leads beyond the merges")
    return [derived[i] for i in places.tolist()]


def inflated(data: bytes, limit: int) -> bytes:
    """What deflates to `data`, no more than `limit` bytes of it. Raises ValueError where that is not all, or is damaged."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, limit)
    except zlib.error as err:
        raise ValueError(str(err)) from err
    if not inflate.eof:
        raise ValueError("deflated data is cut off, or goes on beyond its bound")
    return raw
