"""The tensors of an original checkpoint: Hugging Face's name of each, its shape, and what is left out.

Sources: transformers' `convert_llama_weights_to_hf.py` and `convert_mistral_weights_to_hf.py`, mistral-inference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOLES = {"{b}": r"(?P<b>\d{1,6})", "{e}": r"(?P<e>\d{1,6})", "{p}": r"(?P<p>weight|qscale_act|qscale_weight)"}


@dataclass(frozen=True)
class Row:
    """`name` and `hf` are templates. `shape`: of the weight, in sizes by name. `rotary`: its rows are pairs of neighbours in
    each head, where Hugging Face has halves."""

    name: str
    hf: str
    shape: tuple[str, ...]
    rotary: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        text = re.escape(self.name).replace(r"\{", "{").replace(r"\}", "}")
        for hole, pattern in _HOLES.items():
            text = text.replace(hole, pattern)
        return re.compile(text)


_L, _H = "layers.{b}.", "model.layers.{b}."
_EXPERTS = tuple(
    row for inside in ("", "feed_forward.") for row in (
        Row(f"{_L}{inside}gate.weight", f"{_H}block_sparse_moe.gate.weight", ("experts", "dim")),
        Row(_L + inside + "experts.{e}.w1.{p}", _H + "block_sparse_moe.experts.{e}.w1.{p}", ("ffn", "dim")),
        Row(_L + inside + "experts.{e}.w2.{p}", _H + "block_sparse_moe.experts.{e}.w2.{p}", ("dim", "ffn")),
        Row(_L + inside + "experts.{e}.w3.{p}", _H + "block_sparse_moe.experts.{e}.w3.{p}", ("ffn", "dim"))))
ROWS = (
    Row("norm.weight", "model.norm.weight", ("dim",)),
    Row("tok_embeddings.weight", "model.embed_tokens.weight", ("vocab", "dim")),
    Row("output.weight", "lm_head.weight", ("vocab", "dim")),
    Row(_L + "attention_norm.weight", _H + "input_layernorm.weight", ("dim",)),
    Row(_L + "ffn_norm.weight", _H + "post_attention_layernorm.weight", ("dim",)),
    Row(_L + "attention.wq.{p}", _H + "self_attn.q_proj.{p}", ("q", "dim"), rotary=True),
    Row(_L + "attention.wk.{p}", _H + "self_attn.k_proj.{p}", ("kv", "dim"), rotary=True),
    Row(_L + "attention.wv.{p}", _H + "self_attn.v_proj.{p}", ("kv", "dim")),
    Row(_L + "attention.wo.{p}", _H + "self_attn.o_proj.{p}", ("dim", "q")),
    Row(_L + "feed_forward.w1.{p}", _H + "mlp.gate_proj.{p}", ("ffn", "dim")),
    Row(_L + "feed_forward.w2.{p}", _H + "mlp.down_proj.{p}", ("dim", "ffn")),
    Row(_L + "feed_forward.w3.{p}", _H + "mlp.up_proj.{p}", ("ffn", "dim")),
    *_EXPERTS,
)
_PATTERNS = [(row, row.pattern) for row in ROWS]
BUFFERS = re.compile(r"(.+\.)?rope\.freqs")  # computed again from the settings
VISION = ("vision_encoder.", "vision_language_adapter.", "patch_merger.", "pre_mm_projector_norm.")


def row_of(name: str) -> tuple[Row, str, str] | None:
    """The row of a tensor, its canonical name, and the part of its module that it is (`weight`); None for another's."""
    for row, pattern in _PATTERNS:
        if match := pattern.fullmatch(name):
            holes = match.groupdict()
            return row, row.hf.format(**holes), holes.get("p", "weight")
    return None
