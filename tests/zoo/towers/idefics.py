"""Models with a tower of SigLIP whose patches are shuffled into fewer tokens."""

# fmt: off
from ..models.rows import Model
from . import HALF, TEXT, Tower
from .siglip import EYE

_WIDE = TEXT | {"model_type": "llama"}

ROWS = (
    Tower(Model("idefics3-eye", "Idefics3ForConditionalGeneration", "smollm", {
        "text_config": _WIDE | {"architectures": ["VLlama3ForCausalLM"]}, "scale_factor": 2, "tie_word_embeddings": False,
        "vision_config": EYE | {"model_type": "idefics3_vision"}}), HALF | {"size": {"longest_edge": 224}}),
    Tower(Model("smolvlm-eye", "SmolVLMForConditionalGeneration", "llama3", {
        "text_config": _WIDE | {"architectures": ["LlamaForCausalLM"]}, "scale_factor": 4, "tie_word_embeddings": False,
        "vision_config": EYE | {"model_type": "smolvlm_vision"}}), HALF),
)
