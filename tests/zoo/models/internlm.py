"""InternLM 2 and 3."""

# fmt: off
from .rows import DECODER, Model, tensors

_L = "model.layers.{b}."
_INTERNLM2 = DECODER | {"model_type": "internlm2", "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 1000000.0, "bias": False,
                        "tie_word_embeddings": False}
_SHAPES = tensors({
    "model.tok_embeddings.weight": "vocab_size hidden_size", "output.weight": "vocab_size hidden_size",
    "model.norm.weight": "hidden_size", _L + "attention_norm.weight": "hidden_size", _L + "ffn_norm.weight": "hidden_size",
    _L + "attention.wqkv.weight": "2*hidden_size hidden_size", _L + "attention.wo.weight": "hidden_size hidden_size",
    _L + "feed_forward.w1.weight": "intermediate_size hidden_size", _L + "feed_forward.w3.weight": "intermediate_size hidden_size",
    _L + "feed_forward.w2.weight": "hidden_size intermediate_size"})

_INTERNLM3 = DECODER | {"model_type": "internlm3", "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 50000000, "bias": False, "head_dim": 16,
                        "qkv_bias": False, "tie_word_embeddings": False, "rope_scaling": {"factor": 6.0, "rope_type": "dynamic"}}
_SHAPES_3 = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    "model.norm.weight": "hidden_size", _L + "input_layernorm.weight": "hidden_size",
    _L + "post_attention_layernorm.weight": "hidden_size",
    _L + "self_attn.q_proj.weight": "hidden_size hidden_size", _L + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _L + "self_attn.k_proj.weight": "hidden_size//2 hidden_size", _L + "self_attn.v_proj.weight": "hidden_size//2 hidden_size",
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size"})

ROWS = (
    Model("internlm2", "InternLM2ForCausalLM", "llama-spm", _INTERNLM2, shapes=_SHAPES),
    Model("internlm3", "InternLM3ForCausalLM", "llama-spm", _INTERNLM3, shapes=_SHAPES_3),
)
