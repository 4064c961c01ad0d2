"""Granite and its mixtures of experts, with and without a shared one."""

# fmt: off
from .rows import DECODER, V4, Model

_GRANITE = DECODER | {"attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0}
_MOE = _GRANITE | {"num_local_experts": 4, "num_experts_per_tok": 2}

ROWS = (
    Model("granite", "GraniteForCausalLM", "llama3", _GRANITE | {"tie_word_embeddings": True}, v4=V4()),
    Model("granite-biases", "GraniteForCausalLM", "llama3", DECODER | {"attention_bias": True, "mlp_bias": True}, "float16"),
    Model("granitemoe", "GraniteMoeForCausalLM", "llama3", _MOE, v4=V4()),
    Model("granitemoeshared", "GraniteMoeSharedForCausalLM", "llama3", _MOE | {"shared_intermediate_size": 48}, "float32", v4=V4()),
)
