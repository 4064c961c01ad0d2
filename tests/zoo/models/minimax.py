"""MiniMax-Text-01 and M2."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, THETA, V4, Fault, L, Model, tensors, without

_PARTS = ("full_attention", "linear_attention", "mlp")
# Residuals weigh more than the published 3.56: the rounding of adapters grows from block to block all the same.
_TEXT01 = DECODER | {
    "model_type": "minimax_text_01", "num_hidden_layers": 8, "attn_type_list": [0] * 7 + [1], "head_dim": 32, "rotary_dim": 16,
    "num_local_experts": 4, "num_experts_per_tok": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000000, "postnorm": True,
    "shared_intermediate_size": 0, "shared_moe_mode": "sigmoid", "sliding_window": None, "tie_word_embeddings": False,
    "attention_dropout": 0.0, **{f"layernorm_{p}_alpha": 8.1 for p in _PARTS}, **{f"layernorm_{p}_beta": 1.0 for p in _PARTS}}
_A, _M, _HEADS, _KV = L + "self_attn.", L + "block_sparse_moe.", "num_attention_heads*head_dim", "num_key_value_heads*head_dim"
_FULL = tensors({_A + "q_proj.weight": f"{_HEADS} hidden_size", _A + "k_proj.weight": f"{_KV} hidden_size",
                 _A + "v_proj.weight": f"{_KV} hidden_size", _A + "o_proj.weight": f"hidden_size {_HEADS}"}, b="range(7,8)")
_LINEAR = tensors({_A + "qkv_proj.weight": f"3*{_HEADS} hidden_size", _A + "output_gate.weight": f"{_HEADS} hidden_size",
                   _A + "norm.weight": _HEADS, _A + "out_proj.weight": f"hidden_size {_HEADS}"}, b="range(7)")
_REST = tensors(without(LLAMA_NAMES, "self_attn", "mlp") | {
    _M + "gate.weight": "num_local_experts hidden_size", _M + "experts.{e}.w1.weight": "intermediate_size hidden_size",
    _M + "experts.{e}.w2.weight": "hidden_size intermediate_size", _M + "experts.{e}.w3.weight": "intermediate_size hidden_size",
}, e="num_local_experts")

ROWS = (
    # With adapters on every weight it magnifies rounding: noise of half a unit in the last place on the merged weights moves
    # llama.cpp's own result by 7e-4 to 4e-3 of its size (seed 3), on the base model's by 4e-7.
    Model("minimax-01", "MiniMaxText01ForCausalLM", "minimax-m2", _TEXT01, tolerance=1e-3,
          shapes=lambda config: _REST(config) | _FULL(config) | _LINEAR(config),
          fault=Fault("opens the index of the weights, which a checkpoint of one file has not", index=True)),
    Model("minimax-m2", "MiniMaxM2ForCausalLM", "minimax-m2", DECODER | {
        "head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": THETA | {"partial_rotary_factor": 0.5}},
          float32=("e_score_correction_bias",), add={"rotary_dim": 16, "scoring_func": "sigmoid"}, v4=V4()),
)
