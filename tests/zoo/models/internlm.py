"""InternLM 2 and 3."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, L, Model, tensors

_INTERNLM2 = DECODER | {"model_type": "internlm2", "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 1000000.0, "bias": False,
                        "tie_word_embeddings": False}
_SHAPES = tensors({
    "model.tok_embeddings.weight": "vocab_size hidden_size", "output.weight": "vocab_size hidden_size",
    "model.norm.weight": "hidden_size", L + "attention_norm.weight": "hidden_size", L + "ffn_norm.weight": "hidden_size",
    L + "attention.wqkv.weight": "2*hidden_size hidden_size", L + "attention.wo.weight": "hidden_size hidden_size",
    L + "feed_forward.w1.weight": "intermediate_size hidden_size", L + "feed_forward.w3.weight": "intermediate_size hidden_size",
    L + "feed_forward.w2.weight": "hidden_size intermediate_size"})

_INTERNLM3 = DECODER | {"model_type": "internlm3", "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 50000000, "bias": False, "head_dim": 16,
                        "qkv_bias": False, "tie_word_embeddings": False, "rope_scaling": {"factor": 6.0, "rope_type": "dynamic"}}

ROWS = (
    Model("internlm2", "InternLM2ForCausalLM", "llama-spm", _INTERNLM2, shapes=_SHAPES),
    Model("internlm3", "InternLM3ForCausalLM", "llama-spm", _INTERNLM3, shapes=tensors(LLAMA_NAMES)),
)
