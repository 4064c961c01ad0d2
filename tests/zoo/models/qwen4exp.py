"""Qwen4-Exp: hashes of tokens in the second block, an indexer in the fourth, a head for multi-token prediction; with and without
a vision part; and without hashes."""

# fmt: off
from collections.abc import Callable

import numpy as np

from .qwen35 import _MROPE, _QWEN35_EYE, _QWEN35_MOE
from .rows import RECURRENT, Fault, Model, Shapes

_HASHED = [61, 67]  # rows of the two tables, 128 together
_TEXT = _QWEN35_MOE | {
    "rope_parameters": _MROPE, "hc_count": 2, "hc_lowrank": 32, "output_gate_type": "sigmoid", "indexer_n_heads": 8, "indexer_kv_heads": 1,
    "indexer_head_dim": 32, "indexer_budget": 16, "indexer_compress_ratio": 4, "ple_layer_ids": [2], "ple_conv_kernel_size": 4, "ngram_size": 3,
    "heads_per_ngram": 1, "ngram_vocab_size_base": 61, "make_ngram_vocab_size_divisible_by": 8, "split_ngram_parts": 4}
_NONE = {"ple_layer_ids": []}


def numbers(prefix: str) -> dict[str, Callable[[int], np.ndarray]]:
    """The whole numbers that the block hashes with; multipliers as large as real ones."""
    stem = prefix + "layers.1.ple.ple_embedding."
    return {stem + "layer_multipliers": lambda n: np.array([23_703_573_459_911, 17_179_869_184_007, 5_726_623_061_339]),
            stem + "ngram_heads_vocab_sizes": lambda n: np.array(_HASHED),
            stem + "ngram_heads_offsets": lambda n: np.cumsum([0, *_HASHED[:-1]])}


def _mtp(prefix: str) -> Callable[[Shapes], Shapes]:
    """The head as the Hub has it: one more block of full attention."""
    start = prefix + "layers.3."

    def extra(shapes: Shapes) -> Shapes:
        block = {"mtp.layers.0." + name.removeprefix(start): shape for name, shape in shapes.items() if name.startswith(start)}
        mixer = {name.replace(prefix, "mtp."): shape for name, shape in shapes.items() if name.startswith(prefix + "hyper_connection")}
        return block | mixer | {"mtp.fc_embedding.weight": (64, 64), "mtp.fc_hidden.weight": (64, 64),
                                "mtp.pre_fc_norm_embedding.weight": (64,), "mtp.pre_fc_norm_hidden.weight": (128,)}

    return extra


# Of layer_types the converter reads transformers' names, and looks for others.
_DENSE = Fault(keys=("qwen4exp.attention.compress_ratios",))
_F32 = ("linear_attn.A_log", "linear_attn.norm.weight")
ROWS = (
    Model("qwen4exp", "Qwen4ExpForCausalLM", "qwen35", _TEXT, float32=_F32, values=numbers("model."), extra=_mtp("model."),
          add={"mtp_num_hidden_layers": 1}, zero_norms=True, tolerance=RECURRENT, rounded=True, fault=_DENSE),
    Model("qwen4exp-vl", "Qwen4ExpForConditionalGeneration", "qwen35", {"text_config": _TEXT, "vision_config": _QWEN35_EYE},
          float32=_F32, values=numbers("model.language_model."), extra=_mtp("model.language_model."),
          add={"mtp_num_hidden_layers": 1}, zero_norms=True, tolerance=RECURRENT, rounded=True, fault=_DENSE),
    Model("qwen4exp-plain", "Qwen4ExpForCausalLM", "qwen35", _TEXT | _NONE, float32=_F32, zero_norms=True, layout="fused",
          tolerance=RECURRENT, rounded=True, fault=_DENSE),
)
