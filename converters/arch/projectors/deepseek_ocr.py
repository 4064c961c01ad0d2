"""Eyes of DeepSeek-OCR and Unlimited-OCR: SAM's tower in front of CLIP's, whose patches it makes; in DeepSeek-OCR 2 in front of
Qwen2's blocks, which read the image by queries.

config.json calls their settings by names with dashes and dots. Source: llama.cpp `conversion/deepseek.py`; the names in their
published files.
"""

from __future__ import annotations

from .common import *

LARGE, SAM, QWEN2 = "clip-l-14-224", "sam_vit_b", "qwen2-0-5b"
EYE, MASK = "model.vision_model.", "model.sam_model."
MASKS = "v.sam.blk.{m}."
RUNTIME_SIZE = 1024  # pixels of a side, whatever the file says


def part(name: str, keys: Mapping[str, str]) -> tuple[HparamRule, ...]:
    """Settings of one of the two towers."""
    return tuple(H(f"vision.{key}", f"vision_config.width.{name}.{hf}") for key, hf in keys.items())


def whole_image(facts: GgufFacts) -> list[int]:
    """The blocks of SAM's that do not attend within windows, and so have positions for more than one."""
    window = 2 * facts.kv["vision.window_size"] - 1
    return [m for m in range(facts.kv["vision.sam.block_count"])
            if (size(f"v.sam.blk.{m}.attn.pos_h.weight")(facts) or 0) > window]


def tiled(tiles: int) -> tuple[HparamRule, ...]:
    """The keys of SAM's tower and of what it is given: tiles of the image, at most so many."""
    return (
        GELU, H("vision.window_size", "vision_config.window_size", default=14),
        Const("vision.preproc_min_tiles", 2), Const("vision.preproc_max_tiles", tiles),
        Seen(f"vision_config.width.{SAM}.downsample_channels", lambda facts: [
            size(f"v.sam.net_{n}.weight")(facts) for n in "23"]),
        Seen(f"vision_config.width.{SAM}.global_attn_indexes", whole_image),
        *part(SAM, {"sam.block_count": "layers", "sam.embedding_length": "width", "sam.head_count": "heads"}),
    )


def seen(tiles: int) -> tuple[HparamRule, ...]:
    return (
        *but(seeing(default=1e-6),
             H("vision.image_size", (f"vision_config.width.{LARGE}.image_size", "vision_config.image_size")),
             *part(LARGE, {"patch_size": "patch_size", "embedding_length": "width", "block_count": "layers",
                           "attention.head_count": "heads"}),
             # no width at all, as existing files have it: the runtime does not look
             Computed("vision.feed_forward_length", lambda c: 4 * c["vision_config"]["width"][LARGE]["heads"])),
        projector_type("deepseekocr"), *tiled(tiles),
    )


SAM_ROWS = (
    R("v.sam.pos_embd.weight", MASK + "pos_embed", type="F32"),
    *rows("v.sam.", MASK, {"patch_embd": "patch_embed.proj"}, type=CONV),
    *rows(MASKS, MASK + "blocks.{m}.", {
        "pre_ln": "norm1", "post_ln": "norm2", "attn.qkv": "attn.qkv", "attn.out": "attn.proj", "mlp.lin1": "mlp.lin1",
        "mlp.lin2": "mlp.lin2"}),
    *(R(f"{MASKS}attn.pos_{x}.weight", f"{MASK}blocks.{{m}}.attn.rel_pos_{x}", type="F32") for x in "hw"),
    *rows("v.sam.neck.", MASK + "neck.", {n: n for n in "0123"}, type="F32"),
    *(R(f"v.sam.net_{n}.weight", f"{MASK}net_{n}.weight", type="F32") for n in "23"),
)
PROJECTED = (*rows("mm.model.", "model.projector.", {"fc": "layers"}),
             R("v.view_seperator", "model.view_seperator", AddAxis(0)))
TENSORS = (
    *SAM_ROWS, R("v.class_embd", EYE + "embeddings.class_embedding"),
    *rows("v.", EYE, {"patch_embd": "embeddings.patch_embedding"}, type="F32"),
    R("v.position_embd.weight", EYE + "embeddings.position_embedding.weight", type="F32"),
    *rows("v.", EYE, {"pre_ln": "pre_layrnorm"}),
    *rows("v.blk.{v}.", EYE + "transformer.layers.{v}.", {
        "ln1": "layer_norm1", "attn_qkv": "self_attn.qkv_proj", "attn_out": "self_attn.out_proj", "ln2": "layer_norm2",
        "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
    R("v.image_newline", "model.image_newline"), *PROJECTED,
)
SAM_SHAPES = {
    "v.sam.pos_embd": "1 sam.side sam.side sam", "v.sam.patch_embd": "sam 3 sam.patch sam.patch",
    **lengths(MASKS, {"pre_ln post_ln": "sam", "attn.qkv": "3*sam sam", "attn.out": "sam sam", "mlp.lin1": "sam.inner sam",
                    "mlp.lin2": "sam sam.inner", "attn.pos_h attn.pos_w": "sam.distances.{m} sam.head"}),
    **lengths("v.sam.", {"neck.0": "sam.neck sam 1 1", "neck.1 neck.3": "sam.neck", "neck.2": "sam.neck sam.neck 3 3",
                       "net_2": "sam.net2 sam.neck 3 3", "net_3": "width sam.net2 3 3"}),
    "v.view_seperator": "text"}
SAM_SIZES: dict[str, Any] = {"sam": lambda hp: hp["vision.sam.embedding_length"],
                             "sam.head": lambda hp: hp["sam"] // hp["vision.sam.head_count"]}
SAM_SHOWN = {name: Shown("of SAM's tower, which the runtime knows by its tensors") for name in (
    "sam.side", "sam.patch", "sam.inner", "sam.distances.{m}", "sam.neck", "sam.net2")}
SHAPES_OF_CLIP: dict[str, Any] = {
    "shapes": {**SAM_SHAPES, "v.position_embd": "grid_and_class width", "mm.model.fc": "text 2*width",
               **lengths("v.blk.{v}.", {"ffn_up": "mlp width", "ffn_down": "width mlp"})},
    "sizes": SAM_SIZES, "shown": {**SAM_SHOWN, "mlp": Shown("the key has no width at all")}}
DEEPSEEK_OCR = towered(
    "deepseek_vl_v2", ("DeepseekOCRForCausalLM",), hparams=seen(9), tensors=TENSORS,
    stacks={"m": Stack("vision.sam.block_count")}, **SHAPES_OF_CLIP,
    tells={"DeepseekOCRForCausalLM": says("clip.vision.preproc_max_tiles", 9)}, text="language_config",
    example="deepseek-ai/DeepSeek-OCR",
)
UNLIMITED_OCR = towered(
    "unlimited_ocr", ("UnlimitedOCRForCausalLM",), hparams=seen(32), tensors=TENSORS,
    stacks={"m": Stack("vision.sam.block_count")}, text="language_config", **SHAPES_OF_CLIP,
    tells={"UnlimitedOCRForCausalLM": says("clip.vision.preproc_max_tiles", 32)}, example="baidu/Unlimited-OCR",
)

# -- DeepSeek-OCR 2 ----------------------------------------------------------------------------------------------------

ENCODER = "model.qwen2_model.model.model."
BUILT_IN = {"vision.patch_size": 16, "vision.feed_forward_length": 4864, "vision.block_count": 24,
            "vision.attention.head_count": 14}  # of Qwen2's blocks, which config.json says nothing of
DEEPSEEK_OCR2 = towered(
    "deepseek_vl_v2", ("DeepseekOCR2ForCausalLM",),
    hparams=(
        *defaulted(but(seeing(default=1e-6), *part(QWEN2, {"embedding_length": "dim"})), BUILT_IN),
        projector_type("deepseekocr2"), *tiled(6), Const("vision.attention.head_count_kv", 2),
    ),
    tensors=(
        *SAM_ROWS,
        *rows("v.blk.{v}.", ENCODER + "layers.{v}.", {
            "ln1": "input_layernorm", **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.o_proj",
            "ln2": "post_attention_layernorm", **GATED}),
        R("v.post_ln.weight", ENCODER + "norm.weight"),
        *(R(f"v.resample_query_{n}.weight", f"model.qwen2_model.query_{n}.weight") for n in (768, 1024)), *PROJECTED,
    ),
    stacks={"m": Stack("vision.sam.block_count")}, text="language_config",
    shapes={**SAM_SHAPES, **lengths("v.blk.{v}.", {"attn_k attn_v": "kv_rows width"}), "mm.model.fc": "text width",
            "v.resample_query_768": "144 width", "v.resample_query_1024": "256 width"},
    sizes=SAM_SIZES, shown=SAM_SHOWN, example="deepseek-ai/DeepSeek-OCR-2",
)

SPECS = (DEEPSEEK_OCR, UNLIMITED_OCR, DEEPSEEK_OCR2)
