"""Qwen3's rerankers: language models whose score of a text is how much rather they would say "yes" than "no".

They are checkpoints of the language model's class; the model card's title, or the model's name, tells them apart, as in
llama.cpp's converter. The runtime ranks by two rows of the head, which are written once more as a classifier of two labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..io.files import open_regular, read_at
from ..io.values import Metadata, ValueType, array, string, strings, u32
from ..plan.plan import PlannedTensor, Region, TensorJob
from ..plan.plan import Source as Stored
from ..tokenizer.special import PREFIX
from ..tokenizer.templates import KEY, NAMES_KEY
from .reading import Reading

CLASSIFIER = "cls.output.weight"
LABELS = ("yes", "no")
RANK = 4  # llama_pooling_type
_TITLE = re.compile(rb"^#[ \t]*qwen3-(vl-)?reranker", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(r"qwen3-(vl-)?reranker", re.IGNORECASE)
_CARD_BYTES = 1 << 20
# As the model cards spell it.
TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, '
    "retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n")


@dataclass(frozen=True)
class Reranker:
    """`head`: the GGUF tensor with a row per token, `tokens`: the rows of LABELS in it."""

    head: str
    tokens: tuple[int, ...]
    width: int
    keys: Metadata

    @property
    def tensor(self) -> PlannedTensor:
        return PlannedTensor(CLASSIFIER, "", (len(self.tokens), self.width))

    def jobs(self, source: Stored, output: Region) -> list[TensorJob]:
        """A job for each row."""
        return [TensorJob(f"{CLASSIFIER} {label}", (source.rows(token, token + 1),), (), (output.rows(row, row + 1),))
                for row, (label, token) in enumerate(zip(LABELS, self.tokens, strict=True))]

    def templates(self, metadata: Mapping[str, object]) -> Metadata:
        """How the runtime puts a query and a document together."""
        return {f"{KEY}.rerank": string(TEMPLATE), NAMES_KEY: strings(["rerank"])} if NAMES_KEY not in metadata else {}


def reranker(reading: Reading, tensors: Mapping[str, PlannedTensor], tokenizer: Metadata, name: str | None) -> Reranker | None:
    """What makes a reranker of the model; None where it is none. `name`: the model's on the Hub, if it is from there."""
    folder = reading.checkpoint.folder
    names = (folder.name, name or "", str(reading.checkpoint.config.get("_name_or_path", "")))
    if reading.spec.name not in ("qwen3", "qwen3vl") or not (any(map(_NAME.search, names)) or _titled(folder / "README.md")):
        return None
    texts = tokenizer.get(PREFIX + "tokens")
    where = {text: number for number, text in enumerate(texts.data) if text in LABELS} if texts else {}
    head = next((name for name in ("output.weight", "token_embd.weight") if name in tensors), None)
    if head is None or where.keys() != {*LABELS}:
        return None
    reading.notes.append("its name says that it is a reranker: it scores by its tokens yes and no")
    keys = {f"{reading.spec.name}.pooling_type": u32(RANK),
            f"{reading.spec.name}.classifier.output_labels": array(ValueType.STRING, list(LABELS))}
    return Reranker(head, tuple(where[label] for label in LABELS), tensors[head].shape[1], keys)


def _titled(card: Path) -> bool:
    if not card.is_file():
        return False
    with open_regular(card) as (file, size):
        return _TITLE.search(read_at(file, 0, min(size, _CARD_BYTES), card)) is not None
