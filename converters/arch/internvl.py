"""InternVL around a language model of any of several families, which comes back as its own class.

Two layouts: the class beside OpenGVLab's weights, whose text settings stand in `llm_config`, and transformers'.
Source: OpenGVLab's `configuration_internvl_chat.py` by its published configs; transformers `models/internvl`.
"""

from __future__ import annotations

from ..rules.words import *
from .gpt import GPT_OSS
from .internlm import INTERNLM2
from .llama import LLAMA, MULTIMODAL
from .multimodal import beside, parts
from .qwen import QWEN2, QWEN3, QWEN3MOE

TEXTS = (QWEN2, QWEN3, QWEN3MOE, LLAMA, INTERNLM2, GPT_OSS)
SPECS = tuple(
    Whole(name, model_type, beside(text, text.model_type), aliases, parts(*others), example=example)
    for text in TEXTS
    for name, model_type, aliases, others, example in (
        ("InternVLChatModel", "internvl_chat", (("language_model.", ""),), ("vision_model", "mlp1"), "OpenGVLab/InternVL3-2B"),
        ("InternVLForConditionalGeneration", "internvl", MULTIMODAL, ("vision_tower", "multi_modal_projector"),
         "OpenGVLab/InternVL3-2B-hf"),
    ))
