"""Qwen (1)."""

# fmt: off
from .rows import Fault, Model, tensors

_T = "transformer.h.{b}."
_QWEN = {"model_type": "qwen", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4, "kv_channels": 16,
         "seq_length": 256, "max_position_embeddings": 256, "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10000, "rotary_pct": 1.0, "no_bias": True,
         "use_dynamic_ntk": True, "use_logn_attn": True, "tie_word_embeddings": False}
_SHAPES = tensors({
    "transformer.wte.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size", "transformer.ln_f.weight": "hidden_size",
    _T + "ln_1.weight": "hidden_size", _T + "ln_2.weight": "hidden_size", _T + "attn.c_attn.weight": "3*hidden_size hidden_size",
    _T + "attn.c_attn.bias": "3*hidden_size", _T + "attn.c_proj.weight": "hidden_size hidden_size",
    _T + "mlp.w1.weight": "intermediate_size//2 hidden_size", _T + "mlp.w2.weight": "intermediate_size//2 hidden_size",
    _T + "mlp.c_proj.weight": "hidden_size intermediate_size//2"})

ROWS = (
    Model("qwen1", "QWenLMHeadModel", "qwen2", _QWEN, shapes=_SHAPES,
          fault=Fault("runs the tokenizer's Python file, and calls the norms' epsilon otherwise than the runtime")),
)
