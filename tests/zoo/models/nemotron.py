"""Nemotron."""

# fmt: off
from .rows import DECODER, V4, Model

ROWS = (
    Model("nemotron", "NemotronForCausalLM", "llama-spm", DECODER, v4=V4(), zero_norms=True),
    Model("nemotron-biases", "NemotronForCausalLM", "llama-spm", DECODER | {"attention_bias": True, "mlp_bias": True}, "float32",
          zero_norms=True),
)
