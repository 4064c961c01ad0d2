"""CogVLM's language model."""

# fmt: off
from .rows import SMALL, Fault, Model, tensors

_COG = SMALL | {"num_attention_heads": 4, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
_L = "model.layers.{b}."
_ROWS = {
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
    **{_L + f"self_attn.{kind}_expert_query_key_value.weight": "3*hidden_size hidden_size" for kind in ("language", "vision")},
    **{_L + f"self_attn.{kind}_expert_dense.weight": "hidden_size hidden_size" for kind in ("language", "vision")},
    **{_L + f"mlp.{kind}_mlp.{part}_proj.weight": "intermediate_size hidden_size" for kind in ("language", "vision") for part in ("gate", "up")},
    **{_L + f"mlp.{kind}_mlp.down_proj.weight": "hidden_size intermediate_size" for kind in ("language", "vision")},
}
_TOWER = {"model.vision.boi": "1 1 hidden_size", "model.vision.linear_proj.linear_proj.weight": "hidden_size 32"}
_VISION = tuple(f"blk.{b}.vis_{name}.weight" for b in range(2) for name in ("attn_qkv", "attn_output", "gate", "up", "down"))
ROWS = (
    Model("cogvlm", "CogVLMForCausalLM", "llama-spm", _COG, shapes=tensors(_ROWS | _TOWER),
          fault=Fault(converter="wants num_key_value_heads, leaves out the weights for images, without which the runtime loads nothing",
                      config={"num_key_value_heads": 4}, keys=(*_VISION, "cogvlm.attention.head_count_kv"))),
)
