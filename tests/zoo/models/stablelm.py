"""StableLM 1 to 2 12B, and the text part of Obsidian."""

# fmt: off
from .rows import DECODER, V4, Fault, Model, tensors

_L = "model.layers.{b}."
_OBSIDIAN = DECODER | {"model_type": "llava_stablelm_epoch", "hidden_act": "silu", "norm_eps": 1e-5, "rope_pct": 0.25, "tie_word_embeddings": False,
                       "use_parallel_residual": False}
_NORMS = {f"{norm}.{part}": "hidden_size" for part in ("weight", "bias")
          for norm in (_L + "input_layernorm", _L + "post_attention_layernorm", "model.norm")}
_SHAPES = tensors(_NORMS | {
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    _L + "self_attn.q_proj.weight": "hidden_size hidden_size", _L + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _L + "self_attn.k_proj.weight": "hidden_size//2 hidden_size", _L + "self_attn.v_proj.weight": "hidden_size//2 hidden_size",
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
    "model.vision_tower.vision_tower.vision_model.post_layernorm.weight": "hidden_size", "model.mm_projector.weight": "hidden_size hidden_size"})

ROWS = (
    Model("stablelm", "StableLmForCausalLM", "stablelm2", DECODER | {"use_qkv_bias": True}, v4=V4()),
    Model("stablelm-12b", "StableLmForCausalLM", "stablelm2", DECODER | {"qk_layernorm": True, "use_parallel_residual": True}, "float32",
          fault=Fault("loses the norms of the heads")),
    Model("obsidian", "LlavaStableLMEpochForCausalLM", "stablelm2", _OBSIDIAN, shapes=_SHAPES),
)
