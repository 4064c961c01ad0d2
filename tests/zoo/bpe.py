"""A small byte-pair trainer, so that the vocabularies of the zoo do not depend on a library's version."""

import itertools
from collections import Counter
from collections.abc import Iterable

BYTES = "".join(map(chr, (*range(33, 127), *range(161, 173), *range(174, 256))))


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level vocabularies, in GPT-2's order."""
    return [*BYTES, *(chr(256 + index) for index in range(256 - len(BYTES)))]


def train(words: Iterable[str], count: int, alphabet: Iterable[str]) -> list[tuple[str, str]]:
    """The `count` most frequent merges over `words`; equal frequencies are settled by the order of the strings."""
    known = set(alphabet)
    spelt = Counter(tuple(word) for word in words if set(word) <= known)
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in spelt.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelt = Counter({_merge(word, best): times for word, times in spelt.items()})
    return merges


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)
