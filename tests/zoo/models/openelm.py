"""OpenELM."""

# fmt: off
from .rows import Model

_OPENELM = {"model_type": "openelm", "model_dim": 64, "num_transformer_layers": 2, "head_dim": 16, "max_context_length": 256, "rope_freq_constant": 10000,
            "num_query_heads": [4, 6], "num_kv_heads": [2, 3], "ffn_multipliers": [1.5, 2.3], "ffn_dim_divisor": 32, "normalize_qk_projections": True,
            "ffn_with_glu": True, "share_input_output_layers": True, "activation_fn_name": "swish", "normalization_layer_name": "rms_norm"}


def _shapes(config: dict) -> dict:
    out = {"transformer.token_embeddings.weight": (config["vocab_size"], 64), "transformer.norm.weight": (64,)}
    for b, (q, kv, rows) in enumerate(zip(config["num_query_heads"], config["num_kv_heads"], (96, 160), strict=True)):
        t = f"transformer.layers.{b}."
        out |= {t + "attn_norm.weight": (64,), t + "ffn_norm.weight": (64,), t + "attn.qkv_proj.weight": ((q + 2 * kv) * 16, 64),
                t + "attn.q_norm.weight": (16,), t + "attn.k_norm.weight": (16,), t + "attn.out_proj.weight": (64, q * 16),
                t + "ffn.proj_1.weight": (2 * rows, 64), t + "ffn.proj_2.weight": (64, rows)}
    return out


ROWS = (Model("openelm", "OpenELMForCausalLM", "llama-spm", _OPENELM, shapes=_shapes),)
