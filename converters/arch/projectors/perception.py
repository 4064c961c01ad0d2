"""Towers of Step 3 VL, with scales behind its parts and convolutions that halve the grid twice; and of CogVLM, whose class
token the runtime takes for the last patch, as it does with InternVL's.

Source: llama.cpp `conversion/step3.py`, `conversion/cogvlm.py`; the names in their published files.
"""

from __future__ import annotations

import math

from .common import *

BLOCK = "vision_model.transformer.resblocks.{v}."
STEP3_VL = towered(
    "step3_vl", ("StepVLForConditionalGeneration", "Step3p7ForConditionalGeneration"),
    hparams=(
        *but(seeing(), Computed("vision.feed_forward_length", inner_width("width", 8960 / 1536)),
             H("vision.image_mean", "processor.image_mean", F32, default=[0.48145466, 0.4578275, 0.40821073]),
             H("vision.image_std", "processor.image_std", F32, default=[0.26862954, 0.26130258, 0.27577711]),
             H(f"vision.{NORM}", "vision_config.layer_norm_eps", F32, default=1e-5)),
        projector_type("step3vl"), Const("vision.preproc_image_size", 3024),
        H("vision.projector.scale_factor", "understand_projector_stride",
          codec=Codec(lambda stride: stride**2, lambda factor: round(math.sqrt(factor)))),
    ),
    tensors=(
        R("v.patch_embd.weight", "vision_model.conv1.weight", type=CONV),
        R("v.position_embd.weight", "vision_model.positional_embedding", type="F32"),
        *rows("v.", "vision_model.", {"pre_ln": "ln_pre"}),
        *(R(f"v.blk.{{v}}.attn_qkv.{p}", f"{BLOCK}attn.in_proj_{p}") for p in ("weight", "bias")),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "ln_1", "attn_out": "attn.out_proj", "ln2": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}),
        *(R(f"v.blk.{{v}}.ls{n}.weight", f"{BLOCK}ls_{n}.gamma") for n in "12"),
        *rows("mm.", "vision_model.", {"0": "vit_downsampler1", "1": "vit_downsampler2"}, type=CONV),
        R("mm.model.fc.weight", "vit_large_projector.weight"),
    ),
    shapes={"v.position_embd": "grid width", "mm.0": "2*width width 3 3", "mm.1": "4*width 2*width 3 3",
            "mm.model.fc": "text 4*width"},
    aliases=(("model.vision_model.", "vision_model."), ("model.vit_large_projector.", "vit_large_projector.")),
    example="stepfun-ai/Step3-VL-10B",
)


VISION = "model.vision."
COGVLM = towered(
    "cogvlm", ("CogVLMForCausalLM",), hparams=(*seeing(), projector_type("cogvlm")),
    tensors=(
        *rows("v.", f"{VISION}patch_embedding.", {"patch_embd": "proj"}, type=CONV),
        R("v.position_embd.weight", f"{VISION}patch_embedding.position_embedding.weight", type="F32"),
        R("v.class_embd", f"{VISION}patch_embedding.cls_embedding"),
        *rows("v.blk.{v}.", f"{VISION}transformer.layers.{{v}}.", {
            "ln1": "input_layernorm", "attn_qkv": "attention.query_key_value", "attn_out": "attention.dense",
            "ln2": "post_attention_layernorm", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
        *rows("mm.", f"{VISION}linear_proj.", {
            "model.fc": "linear_proj", "post_fc_norm": "norm1", "gate": "gate_proj", "up": "dense_h_to_4h",
            "down": "dense_4h_to_h"}),
        R("v.boi", f"{VISION}boi"), R("v.eoi", f"{VISION}eoi"),
    ),
    shapes={
        "v.class_embd": "1 width", "v.position_embd": "grid_and_class width", "v.boi": "1 1 text", "v.eoi": "1 1 text",
        **lengths("mm.", {"model.fc": "text width", "post_fc_norm": "text", "gate up": "projected text",
                          "down": "text projected"})},
    text="", example="THUDM/cogvlm-chat-hf",
)

SPECS = (STEP3_VL, COGVLM)
