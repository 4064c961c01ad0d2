"""RWKV 6 and 7."""

# fmt: off
from typing import Any

from .rows import RECURRENT, Fault, Model, Shapes, tensors

_SIX = {"model_type": "rwkv6", "hidden_size": 64, "attention_hidden_size": 64, "num_hidden_layers": 4, "head_size": 32,
        "head_size_divisor": 8, "intermediate_size": None, "layer_norm_epsilon": 1e-5, "rescale_every": 2,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
_B = "rwkv.blocks.{b}."
_A, _F = _B + "attention.", _B + "feed_forward."


def _pairs(*names: str) -> dict[str, str]:
    return {f"{name}.{part}": "hidden_size" for name in names for part in ("weight", "bias")}


_ROWS6 = {
    "rwkv.embeddings.weight": "vocab_size hidden_size", "head.weight": "vocab_size hidden_size",
    **{_A + f"time_maa_{letter}": "1 1 hidden_size" for letter in "xwkvrg"}, **{_F + f"time_maa_{letter}": "1 1 hidden_size" for letter in "kr"},
    _A + "time_maa_w1": "hidden_size 160", _A + "time_maa_w2": "5 32 hidden_size", _A + "time_decay": "1 1 hidden_size",
    _A + "time_decay_w1": "hidden_size 64", _A + "time_decay_w2": "64 hidden_size", _A + "time_faaaa": "2 head_size",
    **{_A + f"{name}.weight": "hidden_size hidden_size" for name in ("key", "value", "receptance", "gate", "output")},
    _F + "key.weight": "224 hidden_size", _F + "value.weight": "hidden_size 224", _F + "receptance.weight": "hidden_size hidden_size",
} | _pairs("rwkv.blocks.0.pre_ln", "rwkv.ln_out", _B + "ln1", _B + "ln2", _A + "ln_x")

_SEVEN = {"model_type": "rwkv7", "hidden_size": 64, "num_hidden_layers": 3, "head_dim": 32, "intermediate_size": 96, "norm_eps": 1e-5,
          "decay_low_rank_dim": 16, "a_low_rank_dim": 16, "v_low_rank_dim": 8, "gate_low_rank_dim": 24, "hidden_act": "sqrelu",
          "norm_bias": True, "norm_first": True, "attn": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
_L = "model.layers.{b}."
_M = _L + "attn."
_LORA = {"w": "decay", "a": "a", "g": "gate"}
_ROWS7 = {
    "model.embeddings.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    **{_M + f"x_{letter}": "1 1 hidden_size" for letter in "rwkvag"}, _L + "ffn.x_k": "hidden_size",
    _M + "k_k": "hidden_size", _M + "k_a": "hidden_size", _M + "r_k": "2 head_dim",
    **{_M + f"{x}_lora.lora.0.weight": f"{name}_low_rank_dim hidden_size" for x, name in _LORA.items()},
    **{_M + f"{x}_lora.lora.2.weight": f"hidden_size {name}_low_rank_dim" for x, name in _LORA.items()},
    _M + "w_lora.lora.2.bias": "hidden_size", _M + "a_lora.lora.2.bias": "hidden_size",
    **{_M + f"{x}_proj.weight": "hidden_size hidden_size" for x in "rkvo"},
    _L + "ffn.key.weight": "intermediate_size hidden_size", _L + "ffn.value.weight": "hidden_size intermediate_size",
} | _pairs("model.layers.0.pre_norm", "model.norm", _L + "attn_norm", _L + "ffn_norm", _M + "g_norm")
_VALUES = tensors({
    _M + "v_lora.lora.0.weight": "v_low_rank_dim hidden_size", _M + "v_lora.lora.2.weight": "hidden_size v_low_rank_dim",
    _M + "v_lora.lora.2.bias": "hidden_size"})  # of block 0, too, which does not use it: some checkpoints have it, others do not

_HYBRID = {"model_type": "rwkv_hybrid", "hidden_size": 64, "num_hidden_layers": 2, "head_size": 32, "intermediate_size": 96, "rms_norm_eps": 1e-6,
           "wkv_has_gate": True, "wkv_has_group_norm": False, "wkv_version": 7, "hidden_act": "silu", "tie_word_embeddings": False,
           "torch_dtype": "bfloat16"}
_Q = _L + "self_attn.time_mixer."


def _hybrid(config: dict[str, Any], letters: str) -> Shapes:
    ranks = {"w": 64, "a": 64} | ({"g": 128} if "g" in letters else {})
    rows = {
        "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size",
        _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
        **{_L + f"mlp.{name}_proj.weight": "intermediate_size hidden_size" for name in ("gate", "up")},
        _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
        **{_Q + f"x_{letter}": "1 1 hidden_size" for letter in letters}, _Q + "r_k": "2 head_size",
        **{_Q + name: "1 1 hidden_size" for name in ("k_k", "k_a", "w0", "a0")},
        **{_Q + f"{x}1": f"hidden_size {rank}" for x, rank in ranks.items()},
        **{_Q + f"{x}2": f"{rank} hidden_size" for x, rank in ranks.items()},
        **{_Q + f"{name}.weight": "hidden_size hidden_size" for name in ("receptance", "key", "value", "output")},
    }
    values = {_Q + "v0": "1 1 hidden_size", _Q + "v1": "hidden_size 32", _Q + "v2": "32 hidden_size"}
    return tensors(rows)(config) | tensors(values, b="range(1,num_hidden_layers)")(config)


_QRWKV = {"model_type": "rwkv6qwen2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
          "intermediate_size": 96, "rms_norm_eps": 1e-6, "hidden_act": "silu", "lora_rank_tokenshift": 16, "lora_rank_decay": 24,
          "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
_S = _L + "self_attn."
_QROWS = {
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size",
    _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
    **{_L + f"mlp.{name}_proj.weight": "intermediate_size hidden_size" for name in ("gate", "up")},
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
    **{_S + f"time_maa_{letter}": "1 1 hidden_size" for letter in "xwkvrg"}, _S + "time_decay": "1 1 hidden_size",
    _S + "time_maa_w1": "hidden_size 5*lora_rank_tokenshift", _S + "time_maa_w2": "5 lora_rank_tokenshift hidden_size",
    _S + "time_decay_w1": "hidden_size lora_rank_decay", _S + "time_decay_w2": "lora_rank_decay hidden_size",
    **{_S + f"{name}.weight": "hidden_size hidden_size" for name in ("q_proj", "o_proj", "gate")}, _S + "q_proj.bias": "hidden_size",
    **{_S + f"{x}_proj.weight": "hidden_size//2 hidden_size" for x in "kv"}, **{_S + f"{x}_proj.bias": "hidden_size//2" for x in "kv"},
}

_CHAT = Fault(converter="writes its template out, which the runtime knows by its name", keys=("tokenizer.chat_template",))

ROWS = (
    Model("rwkv6", "Rwkv6ForCausalLM", "rwkv", _SIX, shapes=tensors(_ROWS6), tolerance=RECURRENT, fault=_CHAT),
    Model("rwkv7", "RWKV7ForCausalLM", "rwkv", _SEVEN, shapes=lambda c: tensors(_ROWS7)(c) | _VALUES(c), tolerance=RECURRENT,
          fault=_CHAT),
    Model("rwkv6qwen2", "RWKV6Qwen2ForCausalLM", "qwen2", _QRWKV, shapes=tensors(_QROWS), tolerance=RECURRENT),
    Model("arwkv7", "RwkvHybridForCausalLM", "qwen2", _HYBRID, shapes=lambda c: _hybrid(c, "rwkvag"), tolerance=RECURRENT),
    Model("arwkv7-plain", "RwkvHybridForCausalLM", "qwen2", _HYBRID | {"wkv_has_gate": False},
          shapes=lambda c: _hybrid(c, "rwkva"), tolerance=RECURRENT),
)
