"""Models that fill masks; transformers has none of their classes."""

# fmt: off
from .rows import DECODER, Model, tensors

_BLOCK, _HEAD = "model.layers.{b}.", "num_attention_heads*head_dim"
_STATED = DECODER | {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False, "head_dim": 16}
_FRAME = {
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    f"{_BLOCK}input_layernorm.weight": "hidden_size", f"{_BLOCK}post_attention_layernorm.weight": "hidden_size",
    f"{_BLOCK}self_attn.q_proj.weight": f"{_HEAD} hidden_size", f"{_BLOCK}self_attn.o_proj.weight": f"hidden_size {_HEAD}",
    **{f"{_BLOCK}self_attn.{name}_proj.weight": "num_key_value_heads*head_dim hidden_size" for name in "kv"}}
_DREAM = tensors({**_FRAME, **{
    f"{_BLOCK}self_attn.{name}_proj.bias": rows for name, rows in (
        ("q", _HEAD), ("k", "num_key_value_heads*head_dim"), ("v", "num_key_value_heads*head_dim"))},
    **{f"{_BLOCK}mlp.{name}_proj.weight": "intermediate_size hidden_size" for name in ("gate", "up")},
    f"{_BLOCK}mlp.down_proj.weight": "hidden_size intermediate_size"})


def _moe(length: str):
    experts = f"{_BLOCK}mlp.experts.{{e}}."
    return tensors({
        **_FRAME, **{f"{_BLOCK}self_attn.{name}_norm.weight": "head_dim" for name in "qk"},
        f"{_BLOCK}mlp.gate.weight": "num_experts hidden_size", f"{experts}gate_proj.weight": f"{length} hidden_size",
        f"{experts}up_proj.weight": f"{length} hidden_size", f"{experts}down_proj.weight": f"hidden_size {length}"})


_B = "model.transformer.blocks.{b}."
_LLADA = tensors({
    "model.transformer.wte.weight": "vocab_size d_model", "model.transformer.ln_f.weight": "d_model",
    "model.transformer.ff_out.weight": "vocab_size d_model", f"{_B}attn_norm.weight": "d_model", f"{_B}ff_norm.weight": "d_model",
    f"{_B}q_proj.weight": "d_model d_model", f"{_B}attn_out.weight": "d_model d_model",
    **{f"{_B}{name}_proj.weight": "n_kv_heads*d_model//n_heads d_model" for name in "kv"},
    f"{_B}ff_proj.weight": "mlp_hidden_size d_model", f"{_B}up_proj.weight": "mlp_hidden_size d_model",
    f"{_B}ff_out.weight": "d_model mlp_hidden_size"}, b="n_layers")

ROWS = (
    Model("dream", "DreamModel", "qwen2", _STATED | {"model_type": "Dream", "use_sliding_window": False, "mask_token_id": 7}, shapes=_DREAM),
    Model("rnd1", "RND1", "qwen2", _STATED | {
        "model_type": "rnd1", "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True,
        "attention_bias": False, "mask_token_id": 7}, shapes=_moe("moe_intermediate_size")),
    Model("llada", "LLaDAModelLM", "llama3", {
        "model_type": "llada", "n_layers": 2, "d_model": 64, "n_heads": 4, "n_kv_heads": 4, "mlp_hidden_size": 96, "max_sequence_length": 256,
        "rope": True, "rope_theta": 500000.0, "activation_type": "silu", "block_type": "llama", "layer_norm_type": "rms",
        "rms_norm_eps": 1e-5, "weight_tying": False, "include_bias": False, "include_qkv_bias": False}, shapes=_LLADA),
    Model("llada-moe", "LLaDAMoEModelLM", "llama3", {key: value for key, value in _STATED.items() if key != "intermediate_size"} | {
        "model_type": "llada", "num_key_value_heads": 4, "expert_intermediate_size": 32, "dense_intermediate_size": 96, "num_experts": 4,
        "num_experts_per_tok": 2, "norm_topk_prob": False, "qk_layernorm": True}, shapes=_moe("expert_intermediate_size")),
)
