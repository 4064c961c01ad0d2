"""Eyes of DeepSeek-OCR and Unlimited-OCR: SAM's tower in front of CLIP's, whose patches it makes.

config.json calls their settings by names with dashes and dots. Source: llama.cpp `conversion/deepseek.py`; the names in their
published files.
"""

from __future__ import annotations

from .common import *

LARGE, SAM = "clip-l-14-224", "sam_vit_b"
EYE, MASK = "model.vision_model.", "model.sam_model."
MASKS = "v.sam.blk.{m}."
RUNTIME_SIZE = 1024  # pixels of a side, whatever the file says


def part(name: str, key: str) -> Any:
    """A setting of one of the two towers."""
    return lambda config: config["vision_config"]["width"][name][key]


def size_of(config: Config) -> int:
    own = config["vision_config"]["width"][LARGE]
    return own.get("image_size") or config["vision_config"]["image_size"]


def seen(tiles: int) -> tuple[HparamRule, ...]:
    return (
        *but(seeing(default=1e-6), Computed("vision.image_size", size_of),
             *(Computed(f"vision.{key}", part(LARGE, name)) for key, name in {
                 "patch_size": "patch_size", "embedding_length": "width", "block_count": "layers",
                 "attention.head_count": "heads"}.items()),
             # no width at all, as existing files have it: the runtime does not look
             Computed("vision.feed_forward_length", lambda c: 4 * part(LARGE, "heads")(c))),
        projector_type("deepseekocr"), GELU, H("vision.window_size", "vision_config.window_size", default=14),
        Const("vision.preproc_min_tiles", 2), Const("vision.preproc_max_tiles", tiles),
        *(Computed(f"vision.sam.{key}", part(SAM, name)) for key, name in {
            "block_count": "layers", "embedding_length": "width", "head_count": "heads"}.items()),
    )


TENSORS = (
    R("v.sam.pos_embd.weight", MASK + "pos_embed", type="F32"),
    *rows("v.sam.", MASK, {"patch_embd": "patch_embed.proj"}, type=CONV),
    *rows(MASKS, MASK + "blocks.{m}.", {
        "pre_ln": "norm1", "post_ln": "norm2", "attn.qkv": "attn.qkv", "attn.out": "attn.proj", "mlp.lin1": "mlp.lin1",
        "mlp.lin2": "mlp.lin2"}),
    *(R(f"{MASKS}attn.pos_{x}.weight", f"{MASK}blocks.{{m}}.attn.rel_pos_{x}", type="F32") for x in "hw"),
    *rows("v.sam.neck.", MASK + "neck.", {n: n for n in "0123"}, type="F32"),
    *(R(f"v.sam.net_{n}.weight", f"{MASK}net_{n}.weight", type="F32") for n in "23"),
    R("v.class_embd", EYE + "embeddings.class_embedding"),
    *rows("v.", EYE, {"patch_embd": "embeddings.patch_embedding"}, type="F32"),
    R("v.position_embd.weight", EYE + "embeddings.position_embedding.weight", type="F32"),
    *rows("v.", EYE, {"pre_ln": "pre_layrnorm"}),
    *rows("v.blk.{v}.", EYE + "transformer.layers.{v}.", {
        "ln1": "layer_norm1", "attn_qkv": "self_attn.qkv_proj", "attn_out": "self_attn.out_proj", "ln2": "layer_norm2",
        "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
    *rows("mm.model.", "model.projector.", {"fc": "layers"}),
    R("v.image_newline", "model.image_newline"), R("v.view_seperator", "model.view_seperator", AddAxis(0)),
)
DEEPSEEK_OCR = towered(
    "deepseek_vl_v2", ("DeepseekOCRForCausalLM",), hparams=seen(9), tensors=TENSORS,
    stacks={"m": Stack("vision.sam.block_count")},
    tells={"DeepseekOCRForCausalLM": says("clip.vision.preproc_max_tiles", 9)}, text="language_config",
    example="deepseek-ai/DeepSeek-OCR",
)
UNLIMITED_OCR = towered(
    "unlimited_ocr", ("UnlimitedOCRForCausalLM",), hparams=seen(32), tensors=TENSORS,
    stacks={"m": Stack("vision.sam.block_count")}, text="language_config",
    tells={"UnlimitedOCRForCausalLM": says("clip.vision.preproc_max_tiles", 32)}, example="baidu/Unlimited-OCR",
)

SPECS = (DEEPSEEK_OCR, UNLIMITED_OCR)
