"""Towers of SigLIP whose patches are shuffled into fewer, wider tokens: Idefics 3, SmolVLM.

Source: llama.cpp `conversion/smolvlm.py`; transformers `models/idefics3`, `models/smolvlm`.
"""

from __future__ import annotations

from .common import *
from .siglip import siglip

TOWER, FC = "vision_model.", "connector.modality_projection.proj"
# The Hub's configs leave out what transformers takes without being told.
DEFAULTS = {"vision.embedding_length": 1152, "vision.feed_forward_length": 3072, "vision.attention.head_count": 16}

IDEFICS3 = towered(
    "idefics3", ("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"),
    hparams=(
        *defaulted(seeing(), DEFAULTS), projector_type("idefics3"), GELU,
        H("vision.projector.scale_factor", "scale_factor", default=2),
        H("vision.preproc_image_size", ("processor.size.longest_edge", "vision_config.image_size")),
        Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True),
    ),
    tensors=(*siglip(TOWER, type="F32"), *rows("mm.model.", "", {"fc": FC})),
    shapes={"v.position_embd": "grid width", "mm.model.fc": "text shuffled"},
    aliases=(("model.vision_model.", TOWER), ("model.vision_tower.vision_model.", TOWER), ("model.connector.", "connector.")),
    example="HuggingFaceTB/SmolVLM-Instruct",
)

SPECS = (IDEFICS3,)
