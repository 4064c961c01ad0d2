"""LFM2 and its mixture of experts: short convolutions in most blocks, attention in the others."""

# fmt: off
from .rows import DECODER, RECURRENT, THETA, V4, Model

_KINDS = ["conv", "full_attention", "conv", "full_attention"]
_LFM2 = DECODER | {"num_hidden_layers": 4, "intermediate_size": 144, "block_multiple_of": 32, "layer_types": _KINDS,
                   "rope_parameters": THETA | {"rope_theta": 1000000.0}}

ROWS = (
    Model("lfm2", "Lfm2ForCausalLM", "lfm2", _LFM2, v4=V4(), tolerance=RECURRENT),
    Model("lfm2-plain", "Lfm2ForCausalLM", "lfm2", _LFM2 | {
        "block_auto_adjust_ff_dim": False, "conv_L_cache": 4, "tie_word_embeddings": False}, "float16", tolerance=RECURRENT),
    Model("lfm2moe", "Lfm2MoeForCausalLM", "lfm2", DECODER | {
        "num_hidden_layers": 4, "layer_types": _KINDS, "num_dense_layers": 2, "moe_intermediate_size": 32, "num_experts": 4,
        "num_experts_per_tok": 2, "rope_parameters": THETA | {"rope_theta": 1000000.0}}, tolerance=RECURRENT),
)
