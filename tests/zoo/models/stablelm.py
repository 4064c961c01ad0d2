"""StableLM 1 to 2 12B, and the text part of Obsidian."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, V4, Fault, Model, biases, tensors

_OBSIDIAN = DECODER | {"model_type": "llava_stablelm_epoch", "hidden_act": "silu", "norm_eps": 1e-5, "rope_pct": 0.25, "tie_word_embeddings": False,
                       "use_parallel_residual": False}
_SHAPES = tensors(LLAMA_NAMES | biases(LLAMA_NAMES, "norm") | {
    "model.vision_tower.vision_tower.vision_model.post_layernorm.weight": "hidden_size", "model.mm_projector.weight": "hidden_size hidden_size"})

ROWS = (
    Model("stablelm", "StableLmForCausalLM", "stablelm2", DECODER | {"use_qkv_bias": True}, v4=V4()),
    Model("stablelm-12b", "StableLmForCausalLM", "stablelm2", DECODER | {"qk_layernorm": True, "use_parallel_residual": True}, "float32",
          fault=Fault("loses the norms of the heads")),
    Model("obsidian", "LlavaStableLMEpochForCausalLM", "stablelm2", _OBSIDIAN, shapes=_SHAPES),
)
