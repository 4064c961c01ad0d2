"""Bloom."""

# fmt: off
from .rows import GELU, V4, Model

_BLOOM = {"hidden_size": 64, "n_layer": 2, "n_head": 4}
_HUB = V4(drop=("hidden_size", "n_head", "tie_word_embeddings"), add={"n_embed": 64, "num_attention_heads": 4, "seq_length": 128},
          rename=lambda name: name.removeprefix("transformer."))

ROWS = (
    Model("bloom", "BloomForCausalLM", "gpt2", _BLOOM, tolerance=GELU, v4=_HUB),
    Model("bloom-untied", "BloomForCausalLM", "gpt2", _BLOOM | {"tie_word_embeddings": False}, "float16", tolerance=GELU),
)
