"""DeciLM 7B; Llama-Nemotron, whose blocks attend, multiply once, or do neither."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, SCORE, TYPE, Fault, Model, Shapes, tensors

_DECI = DECODER | {"model_type": "deci", "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 10000.0,
                   "num_key_value_heads_per_layer": [2, 2]}


def _block(group: int | None, linear: bool, times: float | None) -> dict:
    return {"attention": {"n_heads_in_group": group, "no_op": not group and not linear, "replace_with_linear": linear},
            "ffn": {"ffn_mult": times, "no_op": times is None, "replace_with_linear": False}}


_BLOCKS = [_block(2, False, 2.0), _block(None, True, 8.0), _block(None, False, 2.0), _block(None, False, None), _block(4, False, 2.0)]
_NEMOTRON = {"model_type": "nemotron-nas", "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": None,
             "intermediate_size": None, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 500000.0,
             "tie_word_embeddings": False, "block_configs": _BLOCKS}


def _shapes(config: dict) -> Shapes:
    """Of the attention that a block has, if any, and 256 or 512 rows of feed-forward, if any."""
    out = {"model.embed_tokens.weight": (config["vocab_size"], 64), "lm_head.weight": (config["vocab_size"], 64), "model.norm.weight": (64,)}
    for b, block in enumerate(config["block_configs"]):
        p, group = f"model.layers.{b}.", block["attention"]["n_heads_in_group"]
        if group:
            out |= {p + "input_layernorm.weight": (64,), p + "self_attn.q_proj.weight": (64, 64), p + "self_attn.o_proj.weight": (64, 64),
                    p + "self_attn.k_proj.weight": (64 // group, 64), p + "self_attn.v_proj.weight": (64 // group, 64)}
        elif block["attention"]["replace_with_linear"]:
            out |= {p + "input_layernorm.weight": (64,), p + "self_attn.linear_attn.weight": (64, 64)}
        if times := block["ffn"]["ffn_mult"]:
            rows = 256 if times < 6 else 512
            out |= {p + "post_attention_layernorm.weight": (64,), p + "mlp.gate_proj.weight": (rows, 64), p + "mlp.up_proj.weight": (rows, 64),
                    p + "mlp.down_proj.weight": (64, rows)}
    return out

_SCORES = Fault("takes the pieces from tokenizer.json, without their scores", keys=(SCORE, TYPE))

ROWS = (
    Model("deci", "DeciLMForCausalLM", "llama-spm", _DECI, shapes=tensors(LLAMA_NAMES), fault=_SCORES),
    Model("nemotron-nas", "DeciLMForCausalLM", "llama-spm", _NEMOTRON, shapes=_shapes, fault=_SCORES),
)
