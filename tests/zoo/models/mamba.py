"""Mamba, Falcon-Mamba, Mamba 2."""

# fmt: off
from .rows import RECURRENT, Fault, Model

_MAMBA = {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 432}  # llama.cpp's converter pads to 8 or 16
_MAMBA2 = _MAMBA | {"state_size": 16, "num_heads": 8, "head_dim": 16, "chunk_size": 16}
_EXP = Fault("computes exp in float32, an ulp off in a hundred", keys=("blk.0.ssm_a", "blk.1.ssm_a"))

ROWS = (
    Model("mamba", "MambaForCausalLM", "gpt2", _MAMBA, "float32", vocab_keys=(), tolerance=RECURRENT, rounded=True, fault=_EXP),
    Model("mamba-untied", "MambaForCausalLM", "gpt2", _MAMBA | {"tie_word_embeddings": False, "conv_kernel": 3}, vocab_keys=(),
          tolerance=RECURRENT, rounded=True, fault=_EXP),
    Model("falcon-mamba", "FalconMambaForCausalLM", "gpt2", _MAMBA | {"layer_norm_epsilon": 1e-6}, vocab_keys=(),
          tolerance=RECURRENT, rounded=True, fault=_EXP),
    Model("mamba2", "Mamba2ForCausalLM", "gpt2", _MAMBA2 | {"n_groups": 2}, vocab_keys=(), tolerance=RECURRENT, rounded=True),
    Model("mamba2-tied", "Mamba2ForCausalLM", "gpt2", _MAMBA2 | {"n_groups": 1, "tie_word_embeddings": True}, "float32", vocab_keys=(),
          tolerance=RECURRENT, rounded=True),
)
