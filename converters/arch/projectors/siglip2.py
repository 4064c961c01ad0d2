"""Towers of SigLIP 2, which take images of any size: LFM2-VL, Youtu-VL, PaddleOCR-VL, Phi-4. And Janus, of one size.

Source: llama.cpp `conversion/lfm2.py`, `youtuvl.py`, `ernie.py`, `phi.py`, `januspro.py`; transformers `models/lfm2_vl`,
`models/paddleocr_vl`, `models/janus`; for Youtu-VL and Phi-4 the names in their published files.
"""

from __future__ import annotations

from math import isqrt

from .common import *
from .siglip import SAVED_WITHOUT, siglip

TANH = Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True)


def pooling_head(tower: str) -> tuple[Template, ...]:
    """What makes one vector of an image, for which no model of text has a use."""
    names = ("probe", "attention.in_proj_weight", "attention.in_proj_bias", "attention.out_proj.{p}", "layernorm.{p}",
             "mlp.fc1.{p}", "mlp.fc2.{p}")
    return tuple(Template(f"{tower}head.{name}") for name in names)


def matrix(tower: str) -> tuple[TensorRule, ...]:
    """The rows of patches as a matrix, pixel by pixel."""
    return (
        R("v.patch_embd.weight", f"{tower}embeddings.patch_embedding.weight", Channels(3, columns=True), Reshape(
            ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
            ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV, shape="width 3*patch*patch"),
        R("v.patch_embd.bias", f"{tower}embeddings.patch_embedding.bias"),
    )


def without_patches(table: tuple[TensorRule, ...]) -> tuple[TensorRule, ...]:
    return tuple(row for row in table if "patch_embd" not in row.gguf[0].text)


# -- LFM2-VL: patches as a matrix, pixel by pixel; neighbours become one token -----------------------------------------

TOWER, PATCH = "vision_tower.vision_model.", 16
LFM2_VL = towered(
    "lfm2_vl", ("Lfm2VlForConditionalGeneration",),
    hparams=(
        *but(seeing(), Const("vision.image_size", 256)), projector_type("lfm2"), GELU, TANH,
        H("vision.projector.scale_factor", "downsample_factor", default=2),
        Fixed("vision_config.patch_size", PATCH, refuse=True), Fixed("vision_feature_layer", -1, refuse=True),
        Seen("vision_config.num_patches", size("v.position_embd.weight")),
        Seen("projector_use_layernorm", has("mm.input_norm.weight")), Seen("projector_bias", has("mm.1.bias")),
        Seen("projector_hidden_size", size("mm.1.weight")),
        Seen("vision_config.vision_use_head", lambda facts: False),  # which would pool the whole picture
    ),
    tensors=(
        *matrix(TOWER), *without_patches(siglip(TOWER)),
        R("mm.input_norm.{p}", "multi_modal_projector.layer_norm.{p}", need=False),
        *rows("mm.", "multi_modal_projector.", {"1": "linear_1", "2": "linear_2"}),
    ),
    ignore=pooling_head(TOWER), shapes={"mm.input_norm": "shuffled", "mm.1": "projected shuffled", "mm.2": "text projected"},
    aliases=(*SAVED_WITHOUT, ("model.multi_modal_projector.", "multi_modal_projector.")),
    example="LiquidAI/LFM2-VL-450M",
)

# -- Youtu-VL: some blocks attend to the whole image, the others within windows ----------------------------------------

YOUTU_VL = towered(
    "youtu_vl", ("YoutuVLForConditionalGeneration",),
    hparams=(
        *but(seeing(), H("vision.image_size", "vision_config.image_size", default=560)), projector_type("youtuvl"), GELU,
        H("vision.spatial_merge_size", "vision_config.spatial_merge_size", default=2),
        H("vision.window_size", "vision_config.window_size", need=False),
        H("vision.wa_layer_indexes", "vision_config.fullatt_block_indexes"), TANH,
    ),
    tensors=(
        *rows("v.", "siglip2.vision_model.embeddings.", {"patch_embd": "patch_embedding"}, type=CONV),
        *(row for row in without_patches(siglip("siglip2.vision_model.")) if row.gguf[0].text != "v.position_embd.weight"),
        *rows("mm.", "merger.", {"input_norm": "ln_q", "0": "mlp.0", "2": "mlp.2"}),
    ),
    shapes={"v.patch_embd": "width 3*patch*patch", "mm.input_norm": "width",
            "mm.0": "projected merged", "mm.2": "text projected"},
    ignore=pooling_head("siglip2.vision_model."), text="", example="tencent/Youtu-VL-4B-Instruct",
)

# -- PaddleOCR-VL: as many pixels as the processor allows --------------------------------------------------------------

TOWER = "visual.vision_model."
PADDLEOCR = towered(
    "paddleocr_vl", ("PaddleOCRVLForConditionalGeneration", "PaddleOCRVisionModel"),
    hparams=(
        *but(seeing(epsilon=None), Computed("vision.image_size", lambda c: isqrt(_most_pixels(c)))),
        projector_type("paddleocr"),
        *reversed(PIXELS),  # the order of existing files
        GELU, H(f"vision.{NORM}", ("vision_config.rms_norm_eps", "vision_config.layer_norm_eps"), F32, default=1e-6),
        TANH, Fixed("vision_config.spatial_merge_size", 2, refuse=True), SQUARE,
    ),
    tensors=(*siglip(TOWER, type=CONV), *rows("mm.", "mlp_AR.", {"input_norm": "pre_norm", "1": "linear_1", "2": "linear_2"})),
    shapes={"mm.input_norm": "width", "mm.1": "projected 4*width", "mm.2": "text projected"},
    shown={"positions": Shown("the runtime resizes the table", grid_of("vision_config"))},
    ignore=(*pooling_head(TOWER), Template(f"{TOWER}embeddings.packing_position_embedding.weight")),
    aliases=(("model.visual.", "visual."), ("model.projector.", "mlp_AR.")), example="PaddlePaddle/PaddleOCR-VL",
)


def _most_pixels(config: Config) -> int:
    found = get_path(config, "processor.max_pixels")
    return get_path(config, "processor.size.longest_edge") if found is MISSING else found


# -- Phi-4: the features in front of the last block, which is left out -------------------------------------------------

PHI4_TOWER = "model.vision_tower.vision_tower.vision_model."
NAMED = ("model.vision_tower.vision_tower.", "model.mm_projector.")


def patches(key: str) -> HparamRule:
    """A limit in pixels that the processor has in patches."""
    def limit(config: Config) -> int:
        found = (get_path(config, f"{part}{key}_num_patches") for part in ("processor.", ""))
        return next(n for n in found if n is not MISSING) * config["processor"]["patch_size"] ** 2

    return Computed(f"vision.image_{key}_pixels", limit, f"processor.{key}_num_patches",
                    lambda kv: kv[f"vision.image_{key}_pixels"] // kv["vision.patch_size"] ** 2)


PHI4 = towered(
    "phi4_siglip", ("Phi4ForCausalLMV",),
    hparams=(
        *but(seeing(), H("vision.patch_size", "processor.patch_size"),
             Computed("vision.image_size", lambda c: isqrt(c["vision_config"].get("num_patches", 256))
                      * c["processor"]["patch_size"]),
             H("vision.block_count", below("vision_config", *BLOCKS), codec=Codec(lambda n: n - 1, lambda n: n + 1))),
        projector_type("phi4"), patches("min"), patches("max"), GELU, TANH,
        Seen("vision_config.num_patches", size("v.position_embd.weight")),
        Seen("vision_config.patch_size", fact("vision.patch_size")),
    ),
    tensors=(
        *matrix(PHI4_TOWER), *(row for row in without_patches(siglip(PHI4_TOWER)) if row.gguf[0].text != "v.post_ln.{p}"),
        *rows("mm.", "model.mm_projector.", {"0": "0", "2": "2"}),
    ),
    shapes={"v.position_embd": "grid width", "mm.0": "projected width", "mm.2": "text projected"},
    ignore=(*pooling_head(PHI4_TOWER), Template(f"{PHI4_TOWER}post_layernorm.{{p}}")),
    stacks={"v": Stack("vision.block_count", beyond="what comes behind the features")},
    aliases=tuple((name.removeprefix("model.").replace("vision_tower.vision_tower.", "vision_tower."), name) for name in NAMED),
    absent="the tower's last block and norm, which the class loads and does not use, are not in the file", text="",
    example="microsoft/Phi-4-reasoning-vision-15B",
)

# -- Janus: what it draws with is left out -----------------------------------------------------------------------------

TOWER = "vision_model."
JANUS = towered(
    "janus", ("JanusForConditionalGeneration",),
    hparams=(
        *but(seeing(), Computed("vision.feed_forward_length", inner_width("hidden_size", 4.0))), projector_type("janus_pro"),
        *activation("gelu", "silu", default="gelu"), Seen("vision_config.mlp_ratio", mlp_ratio),
        Seen("vision_config.projection_dim", size("mm.0.weight")),
    ),
    tensors=(
        *(row for row in siglip(TOWER, type=CONV) if "attn_out" not in row.gguf[0].text),
        *rows("v.blk.{v}.", f"{TOWER}encoder.layers.{{v}}.", {"attn_out": "self_attn.projection_layer"}),
        *rows("mm.", "aligner.", {"0": "fc1"}), R("mm.{s}.{p}", "aligner.hidden_layers.{s}.{p}"),
    ),
    shapes={"v.position_embd": "grid width", "mm.0": "text width", "mm.{s}": "text text"},
    stacks={"s": Stack("aligner_layers")}, sizes={"aligner_layers": lambda hp: list(range(1, hp["aligner_depth"]))},
    constants={"aligner_depth": Constant("vision_config.depth", neutral=2, default=2)},
    aliases=(("model.vision_model.", TOWER), ("model.aligner.", "aligner.")), example="deepseek-community/Janus-Pro-1B",
)

SPECS = (LFM2_VL, YOUTU_VL, PADDLEOCR, PHI4, JANUS)
