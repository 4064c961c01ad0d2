"""Nanbeige 4.2, Maincoder, openPangu-Embedded."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, L, Model, biases, tensors

_HUB = DECODER | {"rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 10000.0}
_NORMS = {L + "self_attn.q_norm.weight": "head_dim", L + "self_attn.k_norm.weight": "head_dim"}

ROWS = (
    Model("nanbeige", "NanbeigeForCausalLM", "llama-spm", _HUB | {"model_type": "nanbeige", "num_loops": 2, "skip_loop_final_norm": True},
          shapes=tensors(LLAMA_NAMES)),
    Model("maincoder", "MaincoderForCausalLM", "qwen2", _HUB | {"model_type": "maincoder", "head_dim": 16}, shapes=tensors(LLAMA_NAMES | _NORMS)),
    Model("pangu", "PanguEmbeddedForCausalLM", "llama-spm", _HUB | {"model_type": "PanguEmbedded", "bias": True},
          shapes=tensors(LLAMA_NAMES | biases(LLAMA_NAMES, "self_attn"))),
)
