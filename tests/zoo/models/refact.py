"""Refact."""

# fmt: off
from .rows import Model, tensors

_T = "transformer.h.{b}."
_REFACT = {"model_type": "gpt_refact", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "layer_norm_epsilon": 1e-5, "multi_query": True,
           "tie_word_embeddings": False}
_SHAPES = tensors({
    "transformer.wte.weight": "vocab_size n_embd", "lm_head.weight": "vocab_size n_embd", "ln_f.weight": "n_embd", _T + "ln_1.weight": "n_embd",
    _T + "ln_2.weight": "n_embd", _T + "attn.q.weight": "n_embd n_embd", _T + "attn.kv.weight": "32 n_embd", _T + "attn.c_proj.weight": "n_embd n_embd",
    _T + "mlp.gate_up_proj.weight": "512 n_embd", _T + "mlp.c_proj.weight": "n_embd 256"}, b="n_layer")

ROWS = (Model("refact", "GPTRefactForCausalLM", "refact", _REFACT, shapes=_SHAPES),)
