"""The eyes of Granite 4 Vision: SigLIP's tower, of some of whose blocks a small Q-Former each makes what is added in front of a
block of the language model.

The file has the projectors in the order of these blocks of text; which they are, a key of the text model's file tells.
Source: llama.cpp `conversion/granite.py`; transformers `models/granite4_vision`.
"""

from __future__ import annotations

from typing import NamedTuple

from .common import *
from .siglip import SAVED_WITHOUT, TOWER, siglip

OFFSETS, LAYERS = "vision.projector.spatial_offsets", "vision.feature_layer"
SPATIAL = [12, 15, 18, 21]  # blocks of text, of a config.json that names none


class Injection(NamedTuple):
    """One projector: the block of text in front of which its features are added, the block of the tower that they are made
    of, and which of the four samples of the grid it takes; -1: the mean."""

    text: int
    block: int
    offset: int


def injections(config: Config) -> list[Injection]:
    """In the file's order. Negative numbers of config.json count from the last block; others are numbers of hidden states, of
    which the first is what the tower's first block gets."""
    texts, blocks = config["text_config"]["num_hidden_layers"], config["vision_config"]["num_hidden_layers"]

    def of(block: int, text: int, offset: int) -> Injection:
        return Injection(text % texts if -texts <= text < 0 else text, block + blocks if block < 0 else block - 1, offset)

    found = [of(block, text, -1) for block, text in config.get("deepstack_layer_map") or []]
    if found != sorted(found, key=lambda one: one.block):
        raise UnsupportedError("deepstack_layer_map must name blocks of the tower in their order", file="config.json",
                               found=config["deepstack_layer_map"])
    spatial = config.get("spatial_target_layers") or SPATIAL
    for n, text in enumerate(spatial if config.get("use_spatial_sampling", True) else ()):
        found.append(of(config.get("spatial_vision_layer", -1), text, n))
    found.sort(key=lambda one: one.text)
    if [one.text for one in found] != sorted({one.text for one in found}) or not found or found[0].text != 0:
        raise UnsupportedError("features are added in front of the first block of text, and once in front of any",
                               file="config.json", found=[one.text for one in found])
    if any(not 0 <= one.block < blocks or one.text >= texts for one in found):
        raise ValueError(f"{[tuple(one) for one in found]} are not all blocks of the model")
    return found


def at_text(facts: GgufFacts) -> list[Injection]:
    """The projectors of a pair of files."""
    mapping = facts.keys.get("text.deepstack_mapping", [])
    text = {rank: block for block, rank in enumerate(mapping) if rank > 0} | {0: 0}
    return [Injection(text[n], *one) for n, one in enumerate(zip(facts.kv[LAYERS], facts.kv[OFFSETS], strict=True))]


def pairs(facts: GgufFacts) -> list[list[int]]:
    blocks = facts.kv["vision.block_count"]
    return [[one.block - blocks, one.text] for one in sorted(at_text(facts), key=lambda one: one.block) if one.offset < 0]


def samples(facts: GgufFacts) -> list[Injection]:
    return sorted((one for one in at_text(facts) if one.offset >= 0), key=lambda one: one.offset)


def ranks(spatial: bool) -> Any:
    """What the projectors of one kind are called in the file, in HF's order."""
    def of(hp: Hparams) -> list[int]:
        which = [n for n, offset in enumerate(hp[OFFSETS]) if (offset >= 0) == spatial]
        return sorted(which, key=lambda n: hp[OFFSETS if spatial else LAYERS][n])

    return of


def rate(config: Config) -> list[int]:
    query, window = config["downsample_rate"].split("/")
    return [int(query), int(window)]


def qformer(hole: str, hf: str) -> tuple[TensorRule, ...]:
    """The rows of the projectors of one kind."""
    prefix, layer = f"v.proj_blk.{{{hole}}}.", "qformer.encoder.layer.0."
    return (
        R(f"{prefix}img_pos", f"{hf}image_positions"), R(f"{prefix}query", f"{hf}query"),
        *rows(prefix, hf, {
            "linear": "out_linear", "norm": "norm", "post_norm": "qformer.layernorm",
            **{f"{gguf}_{x}": f"{layer}{part}.attention.{name}" for gguf, part in (
                ("self_attn", "attention"), ("cross_attn", "crossattention"))
               for x, name in (("q", "query"), ("k", "key"), ("v", "value"))},
            **{f"{gguf}_{x}": f"{layer}{part}.output.{name}" for gguf, part in (
                ("self_attn", "attention"), ("cross_attn", "crossattention"))
               for x, name in (("out", "dense"), ("norm", "LayerNorm"))},
            "ffn_up": f"{layer}intermediate_query.dense", "ffn_down": f"{layer}output_query.dense",
            "ffn_norm": f"{layer}output_query.LayerNorm"}),
    )


WINDOW, QUERY = "vision.projector.window_side", "vision.projector.query_side"
QFORMER = {
    "img_pos": f"1 {WINDOW}*{WINDOW} width", "query": f"1 {QUERY}*{QUERY} width", "linear": "text width",
    "norm post_norm self_attn_norm cross_attn_norm ffn_norm": "width", "ffn_up": "q.inner width", "ffn_down": "width q.inner",
    " ".join(f"{kind}_attn_{x}" for kind in ("self", "cross") for x in ("q", "k", "v", "out")): "width width"}
GRANITE4_VISION = towered(
    "granite4_vision", ("Granite4VisionForConditionalGeneration",),
    hparams=(
        *seeing(), projector_type("granite4_vision"), GELU, H("vision.preproc_image_size", "vision_config.image_size"),
        Computed("vision.projector.query_side", lambda c: rate(c)[0]),
        Computed("vision.projector.window_side", lambda c: rate(c)[1], "downsample_rate",
                 lambda kv: f"{kv['vision.projector.query_side']}/{kv['vision.projector.window_side']}"),
        Computed(LAYERS, lambda c: [one.block for one in injections(c)]),
        Computed(OFFSETS, lambda c: [one.offset for one in injections(c)]),
        H("vision.image_grid_pinpoints", "image_grid_pinpoints", need=False, codec=Codec(
            lambda sizes: [side for height, width in sizes for side in (width, height)],
            lambda sides: [list(size) for size in zip(sides[1::2], sides[::2], strict=True)])),
        Seen("deepstack_layer_map", pairs), Seen("spatial_target_layers", lambda facts: [one.text for one in samples(facts)]),
        Seen("spatial_vision_layer",
             lambda facts: found[0].block - facts.kv["vision.block_count"] if (found := samples(facts)) else None),
        Fixed("vision_config.hidden_act", "gelu_pytorch_tanh", refuse=True),
        Fixed("vision_feature_select_strategy", "full", refuse=True), Fixed("vision_config.model_type", "siglip_vision_model"),
        *(Fixed(f"qformer_config.{key}", value, refuse=True) for key, value in {
            "num_hidden_layers": 1, "cross_attention_frequency": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-12}.items()),
        Seen("qformer_config.intermediate_size", size("v.proj_blk.0.ffn_up.weight")),
        Seen("vision_config.vision_use_head", lambda facts: False),  # which would pool the whole picture
        Seen("processor.size", square("vision.image_size")),
    ),
    tensors=(
        *siglip(TOWER, type=CONV), R("v.image_newline", "model.image_newline"),
        *qformer("l", "model.layerwise_projectors.{l}."), *qformer("s", "model.spatial_projectors.{s}."),
    ),
    shapes={"v.position_embd": "grid width", **{
        name: shape for hole in "ls" for name, shape in lengths(f"v.proj_blk.{{{hole}}}.", QFORMER).items()}},
    shown={"q.inner": Shown("the runtime sees it in the tensors", ("qformer_config.intermediate_size",))},
    stacks={"l": Stack("layerwise"), "s": Stack("spatial")}, sizes={"layerwise": ranks(False), "spatial": ranks(True)},
    aliases=SAVED_WITHOUT, ids={"image_token_index": "<image>"}, example="ibm-granite/granite-4.0-3b-vision",
)

SPECS = (GRANITE4_VISION,)
