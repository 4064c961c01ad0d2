"""Granite 4: hybrids with Mamba 2, dense or with experts, and the models of its class that only attend; Bamba."""

# fmt: off
from dataclasses import replace

from .rows import DECODER, RECURRENT, V4, Fault, Model

_SCALES = {"attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 2, "mamba_chunk_size": 16, "vocab_size": 432}
_HYBRID = DECODER | _SCALES | _MAMBA | {"num_hidden_layers": 3, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
                                        "shared_intermediate_size": 48}
_HUB = {"layer_types": ["mamba", "attention", "mamba"]}
_NEW = Fault("takes full_attention for a state-space layer", config=_HUB)

ROWS = (
    Model("granite-h-moe", "GraniteMoeHybridForCausalLM", "gpt2", _HYBRID | {"num_local_experts": 4, "num_experts_per_tok": 2}, vocab_keys=(),
          v4=V4(add=_HUB), tolerance=RECURRENT, rounded=True, fault=_NEW),
    Model("granite-h", "GraniteMoeHybridForCausalLM", "gpt2", _HYBRID | {"num_local_experts": 0, "num_experts_per_tok": 0, "intermediate_size": 48,
          "tie_word_embeddings": True, "mamba_n_groups": 1}, "float32", vocab_keys=(), tolerance=RECURRENT, rounded=True,
          fault=replace(_NEW, keys=("blk.0.ssm_a",))),
    Model("granite-4-dense", "GraniteMoeHybridForCausalLM", "gpt2", _HYBRID | {"num_local_experts": 0, "num_experts_per_tok": 0,
          "intermediate_size": 48, "layer_types": ["full_attention"] * 3, "position_embedding_type": "rope"}, vocab_keys=(),
          fault=replace(_NEW, config={"layer_types": ["attention"] * 3})),
    Model("bamba", "BambaForCausalLM", "gpt2", DECODER | _MAMBA | {"num_hidden_layers": 3, "attn_layer_indices": [1], "attn_rotary_emb": 8},
          vocab_keys=(), tolerance=RECURRENT, rounded=True,
          fault=Fault("permutes the whole head, of which half turns", keys=("blk.1.attn_q.weight", "blk.1.attn_k.weight"))),
)
