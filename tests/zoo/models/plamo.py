"""PLaMo 13B."""

# fmt: off
from .rows import OUTSIDE, SMALL, Fault, Model, tensors

_P = "model.layers.layers.{b}."
_PLAMO = SMALL | {"model_type": "plamo", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 6, "n_shared_head": 3, "rms_norm_eps": 1e-6,
                  "tie_word_embeddings": False}
_SHAPES = tensors(OUTSIDE | {
    _P + "norm.weight": "hidden_size", _P + "self_attn.q_proj.weight": "hidden_size hidden_size", _P + "self_attn.k_proj.weight": "32 hidden_size",
    _P + "self_attn.v_proj.weight": "32 hidden_size", _P + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _P + "mlp.gate_proj.weight": "intermediate_size hidden_size", _P + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _P + "mlp.down_proj.weight": "hidden_size intermediate_size", _P + "self_attn.rotary_emb.inv_freq": "8"})

ROWS = (Model("plamo", "PlamoForCausalLM", "llama-spm", _PLAMO, shapes=_SHAPES, fault=Fault("takes the sizes of the 13B model for any")),)
