"""Towers of Pixtral: images of any size without a table of positions, rows of patches ended by the embedding of a token.

Source: llama.cpp `conversion/llava.py`, `conversion/lightonocr.py`; transformers `models/pixtral`, `models/mistral3`.
"""

from __future__ import annotations

from .common import *

BLOCK = "vision_tower.transformer.layers.{v}."
ROPE = RopePermute("head_length")
MERGE = 1  # patches of a side that become one token, where the runtime is not told


def head_length(config: Config) -> int:
    return config["vision_config"]["hidden_size"] // config["vision_config"]["num_attention_heads"]


SEEN = (
    *seeing(default=1e-5), *activation("gelu", "silu", default="gelu"),
    H("vision.spatial_merge_size", "spatial_merge_size", need=False),
    Fixed("vision_config.head_dim", head_length, refuse=True),
    Fixed("vision_config.rope_parameters.rope_type", "axial", also=("default",)),
    Fixed("vision_config.rope_parameters.rope_theta", 10000.0, refuse=True),
    Fixed("vision_config.rope_theta", 10000.0, refuse=True),
    Seen("processor.patch_size", square("vision.patch_size")),
    Seen("processor.size", lambda facts: {"longest_edge": facts.kv["vision.image_size"]}),
    Fixed("projector_hidden_act", "gelu", refuse=True), Seen("multimodal_projector_bias", has("mm.1.bias")),
)
PATCHED = (
    R("v.patch_embd.weight", "vision_tower.patch_conv.weight", type=CONV),
    R("v.pre_ln.weight", "vision_tower.ln_pre.weight"),
    *(R(f"v.blk.{{v}}.attn_{x}.weight", f"{BLOCK}attention.{x}_proj.weight", ROPE) for x in "qk"),
    *(R(f"v.blk.{{v}}.{gguf}.weight", f"{BLOCK}{hf}.weight") for gguf, hf in {
        "ln1": "attention_norm", "attn_v": "attention.v_proj", "attn_out": "attention.o_proj", "ln2": "ffn_norm",
        **{f"ffn_{x}": f"feed_forward.{x}_proj" for x in ("gate", "up", "down")}}.items()),
    *rows("mm.", "multi_modal_projector.", {"1": "linear_1", "2": "linear_2"}),
)
MERGED = (  # of several patches one, behind a norm
    R("mm.input_norm.weight", "multi_modal_projector.norm.weight"),
    R("mm.patch_merger.weight", "multi_modal_projector.patch_merger.merging_layer.weight", type=CONV),
)
EMBEDDING = "language_model.model.embed_tokens.weight"
BREAK = (R("v.token_embd.img_break", EMBEDDING, Crop("img_break", "img_break_end"), AddAxis(0, undo=True), borrowed=True,
           shape="words text"),)
SHAPES_OF_PIXTRAL: dict[str, Any] = {
    "shapes": {"mm.1": "projected width", "mm.2": "text projected", "mm.input_norm": "width",
               "mm.patch_merger": "width merged"},
    "shown": {"words": Shown("the text model's file has the table", ("text_config.vocab_size",))}}
BREAKS: dict[str, Any] = {
    "ids": {"image_token_index": "[IMG]", "image_token_id": "[IMG]"}, "tokens": {"img_break": "[IMG_BREAK]"},
    "constants": {"img_break": Constant("tokens.img_break", 0)},
    "sizes": {"merge": lambda hp: hp.get("vision.spatial_merge_size", MERGE), "img_break_end": lambda hp: hp["img_break"] + 1,
              "head_length": lambda hp: hp["vision.embedding_length"] // hp["vision.attention.head_count"]},
}
ALIASES = (
    ("model.vision_tower.", "vision_tower."), ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.language_model.embed_tokens.", "language_model.model.embed_tokens."),
)

LLAVA = towered(
    "pixtral", ("LlavaForConditionalGeneration",),
    (*SEEN, projector_type("pixtral"), Fixed("vision_config.model_type", "pixtral"),
     Fixed("vision_feature_layer", -1, refuse=True), Fixed("vision_feature_select_strategy", "full", refuse=True)),
    (*PATCHED, *BREAK), "mistral-community/pixtral-12b", aliases=ALIASES, **BREAKS, **SHAPES_OF_PIXTRAL,
    fits=lambda c: (c.get("vision_config") or {}).get("model_type") == "pixtral")
MISTRAL3 = towered(
    "mistral3", ("Mistral3ForConditionalGeneration",),
    (*SEEN, projector_type("pixtral"), Fixed("vision_config.model_type", "pixtral")),
    (*PATCHED, *MERGED, *BREAK), "mistralai/Mistral-Small-3.1-24B-Instruct-2503", aliases=ALIASES, **BREAKS,
    **SHAPES_OF_PIXTRAL)

SPECS = (LLAVA, MISTRAL3)
