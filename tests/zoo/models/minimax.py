"""MiniMax-Text-01, M2 and M3."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, THETA, V4, Fault, L, Model, Shapes, tensors, without

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

_M3 = DECODER | {
    "num_hidden_layers": 3, "head_dim": 32, "rotary_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "dense_intermediate_size": 160, "shared_intermediate_size": 96, "routed_scaling_factor": 2.0, "rope_theta": 5000000, "rms_norm_eps": 1e-6,
    "moe_layer_freq": [0, 1, 1], "scoring_func": "sigmoid", "hidden_act": "swigluoai", "swiglu_alpha": 1.702, "swiglu_limit": 7.0,
    "use_gemma_norm": True, "qk_norm_type": "per_head", "use_qk_norm": True, "tie_word_embeddings": False, "sparse_attention_config": {
        "use_sparse_attention": True, "sparse_num_index_heads": 2, "sparse_index_dim": 32, "sparse_topk_blocks": 2, "sparse_block_size": 4,
        "sparse_local_block": 1, "sparse_attention_freq": [0, 1, 1]}}
_M3_FIVE = {key: value for key, value in _M3.items() if key not in ("moe_layer_freq", "sparse_attention_config")} | {
    "model_type": "minimax_m3_vl_text", "hidden_act": "silu", "mlp_layer_types": ["dense", "sparse", "sparse"], "index_n_heads": 2,
    "index_head_dim": 32, "index_topk_blocks": 2, "index_block_size": 4, "index_local_blocks": 1}
_M3_BLOCKS = tensors(without(LLAMA_NAMES, "self_attn", "mlp") | {
    _A + "q_proj.weight": f"{_HEADS} hidden_size", _A + "k_proj.weight": f"{_KV} hidden_size", _A + "q_norm.weight": "head_dim",
    _A + "v_proj.weight": f"{_KV} hidden_size", _A + "o_proj.weight": f"hidden_size {_HEADS}", _A + "k_norm.weight": "head_dim"})
_M3_DENSE = tensors({L + f"mlp.{part}_proj.weight": shape for part, shape in (
    ("gate", "dense_intermediate_size hidden_size"), ("up", "dense_intermediate_size hidden_size"),
    ("down", "hidden_size dense_intermediate_size"))}, b="range(1)")
_M3_SPARSE = tensors({
    _A + "index_q_proj.weight": "64 hidden_size", _A + "index_k_proj.weight": "32 hidden_size", _A + "index_q_norm.weight": "32",
    _A + "index_k_norm.weight": "32", _M + "gate.weight": "num_local_experts hidden_size",
    _M + "e_score_correction_bias": "num_local_experts", **{f"{_M}{stem}{name}.weight": shape for stem, *names in (
        ("experts.{e}.", "w1", "w3", "w2"), ("shared_experts.", "gate_proj", "up_proj", "down_proj")) for name, shape in zip(names, (
            "intermediate_size hidden_size", "intermediate_size hidden_size", "hidden_size intermediate_size"), strict=True)}},
    b="range(1,3)", e="num_local_experts")


def _m3(config: dict) -> Shapes:
    whole, config = "text_config" in config, config | config.get("text_config", {})
    made = _M3_BLOCKS(config) | _M3_DENSE(config) | _M3_SPARSE(config)
    return {f"language_model.{name}": shape for name, shape in made.items()} | {"patch_merge_mlp.linear_1.bias": (64,)} if whole else made


ROWS = (
    # With adapters on every weight it magnifies rounding: noise of half a unit in the last place on the merged weights moves
    # llama.cpp's own result by 7e-4 to 4e-3 of its size (seed 3), on the base model's by 4e-7.
    Model("minimax-01", "MiniMaxText01ForCausalLM", "minimax-m2", _TEXT01, tolerance=1e-3,
          shapes=lambda config: _REST(config) | _FULL(config) | _LINEAR(config),
          fault=Fault("opens the index of the weights, which a checkpoint of one file has not", index=True)),
    Model("minimax-m2", "MiniMaxM2ForCausalLM", "minimax-m2", DECODER | {
        "head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": THETA | {"partial_rotary_factor": 0.5}},
          float32=("e_score_correction_bias",), add={"rotary_dim": 16, "scoring_func": "sigmoid"}, v4=V4()),
    Model("minimax-m3", "MiniMaxM3SparseForCausalLM", "minimax-m2", _M3 | {"model_type": "minimax_m3"},
          float32=("e_score_correction_bias",), shapes=_m3),
    Model("minimax-m3-vl", "MiniMaxM3SparseForConditionalGeneration", "minimax-m2", {
        "model_type": "minimax_m3_vl", "text_config": _M3_FIVE, "vision_config": {}}, float32=("e_score_correction_bias",), shapes=_m3,
          fault=Fault("does not know the settings that transformers 5 has", config={"model_type": "minimax-m3", "text_config": _M3})),
)
