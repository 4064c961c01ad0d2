"""MiMo-V2.5: an eye like Qwen's, whose blocks attend within windows of rows or columns, with sinks; an ear that is a codec's
encoder: a tower of Whisper whose frames become codes, which are embedded as words are, and blocks over groups of them.

The codec is a checkpoint of its own in `audio_tokenizer/`. Source: llama.cpp `conversion/mimo.py`,
`tools/mtmd/models/mimovl.cpp`, `mimo-audio.cpp`; SGLang `models/mimo_audio.py`.
"""

from __future__ import annotations

from .common import *
from .qwen_vl import AROUND, BLOCK, FRAMES, FUSED, IDS, MERGER, MERGES, OUT_WIDTH

EYE, CODEC, LOCAL = "vision_config", "audio_tokenizer", "audio_encoder.input_local_transformer."
TOWER, BOOKS = f"{CODEC}/encoder.", f"{CODEC}/encoder.quantizer.vq.layers.{{e}}._codebook."


def kinds(config: Config) -> list[int]:
    """Of each block of the eye, whether it attends to all (-1), to rows (0) or columns (1) within a window."""
    found, count = config[EYE]["vit_window_attn_types"], config[EYE].get("depth", 28)
    if len(found) != count or not {*found} <= {-1, 0, 1}:
        raise ValueError(f"-1, 0 or 1 for each of {count} blocks is expected, not {found!r:.80}")
    return found


def books(config: Config) -> list[int]:
    """The codes of each codebook; where there are fewer numbers than codebooks, the last one counts for the others."""
    said, count = config[CODEC]["codebook_size"], config[CODEC]["num_quantizers"]
    each = said if isinstance(said, list) else [said]
    return [*each, *[each[-1]] * (count - len(each))][:count]


def within(config: Config) -> list[int]:
    """Of each block of the ear, whether it attends within a window (0) or to all before it (-1); of a hybrid few do not."""
    count, few = config[CODEC]["encoder_layers"], config[CODEC].get("swa_per_block", 2)
    hybrid = config[CODEC].get("hybrid_attention", False)
    return [0 if not hybrid or b % few < few - 1 else -1 for b in range(count)]


def few(kv: Mapping[str, Any]) -> int | None:
    """Every how many blocks of the ear one attends to all."""
    pattern = kv["audio.wa_pattern_mode"]
    return pattern.index(-1) + 1 if -1 in pattern else None


def windowed(hp: Hparams, v: int) -> bool:
    return hp["vision.wa_pattern_mode"][v] != -1


def of_codec(key: str) -> Callable[[Config], Any]:
    return lambda config: config[CODEC][key]


# What the runtime has as numbers.
CONSTANTS = {
    "encoder_skip_layer_id": 3, "avg_pooler": 2, "kernel_size": 3, "stride_size": 2, "encoder_causal": True,
    "ln_type": "LayerNorm", "activation_function": "gelu", "position_embedding_type": "rope", "rope_type": "default",
    "rope_theta": 10000, "sampling_rate": 24000, "nfft": 960, "window_size": 960, "hop_length": 240, "fmin": 0, "fmax": None}
MIMO25 = towered(
    "mimo_v2", ("MiMoV2ForCausalLM",),
    hparams=(
        *but(seeing(EYE, "rms_norm_eps"), H("vision.image_size", f"{EYE}.image_size", default=560),
             H("vision.block_count", f"{EYE}.depth", default=28),
             H("vision.attention.head_count", f"{EYE}.num_heads", default=32)),
        *but(hearing(CODEC), H("audio.num_mel_bins", f"{CODEC}.n_mels")),
        projector_type("mimovl", "vision.projector_type"), SILU,
        H("vision.attention.head_count_kv", f"{EYE}.num_key_value_heads", default=8),
        H("vision.spatial_merge_size", f"{EYE}.spatial_merge_size"),
        H("vision.window_size", f"{EYE}.visual_token_window_size"),
        Computed("vision.wa_pattern_mode", kinds, f"{EYE}.vit_window_attn_types",
                 lambda kv: kv["vision.wa_pattern_mode"], INT32),
        *PIXELS, OUT_WIDTH, Fixed(f"{EYE}.hidden_act", "silu", refuse=True),
        Seen(f"{EYE}.fullatt_block_indexes", lambda facts: [
            b for b, kind in enumerate(facts.kv["vision.wa_pattern_mode"]) if kind == -1]),
        Seen(f"{EYE}.use_sink", lambda facts: any(name.endswith("attn_sinks") for name in facts.tensors)),
        Seen("processor.patch_size", fact("vision.patch_size")),
        Seen("processor.merge_size", fact("vision.spatial_merge_size")),
        projector_type("mimo_audio", "audio.projector_type"),
        H("audio.rvq.num_quantizers", f"{CODEC}.num_quantizers"),
        Computed("audio.rvq.codebook_size", books, f"{CODEC}.codebook_size", lambda kv: kv["audio.rvq.codebook_size"], INT32),
        Computed("audio.wa_pattern_mode", within, f"{CODEC}.swa_per_block", few, INT32),
        Seen(f"{CODEC}.hybrid_attention", lambda facts: few(facts.kv) is not None),
        Computed("audio.window_size", lambda c: c[CODEC]["encoder_attn_window_size"][0], f"{CODEC}.encoder_attn_window_size",
                 lambda kv: [kv["audio.window_size"], 0]),
        H("audio.local_block_count", "audio_config.input_local_layers"), H("audio.local_group_size", "audio_config.group_size"),
        *(Fixed(f"{CODEC}.{key}", value, refuse=True) for key, value in CONSTANTS.items()),
        *(Fixed(f"audio_config.{key}", value, refuse=True) for key, value in {
            "audio_channels": of_codec("num_quantizers"), "input_local_dim": of_codec("d_model"),
            "input_local_attn_heads": of_codec("encoder_attention_heads"), "input_local_rope_theta": 640000.0,
            "input_local_partial_rotary_factor": 1.0, "input_full_attention": True}.items()),
    ),
    tensors=(
        *FRAMES, *AROUND, *FUSED, *rows("v.blk.{v}.", BLOCK, GATED), *MERGER,
        R("v.blk.{v}.attn_sinks", BLOCK + "attn.sinks", type="F32", when=windowed),
        R("mm.a.code_embd.weight", "speech_embeddings.{e}.weight", type="F32", each="audio.rvq.num_quantizers"),
        *rows("mm.a.local_blk.{l}.", LOCAL + "layers.{l}.", {
            "ln1": "input_layernorm", "ln2": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_out": "self_attn.o_proj", **GATED}),
        R("mm.a.local_norm.weight", LOCAL + "norm.weight"),
        *(R(f"mm.a.mlp.{n}.weight", f"audio_encoder.projection.mlp.{m}.weight") for n, m in ((1, 0), (2, 2))),
        *(row for n in "12" for row in (
            R(f"a.conv1d.{n}.weight", f"{TOWER}conv{n}.weight", type="F32"),
            R(f"a.conv1d.{n}.bias", f"{TOWER}conv{n}.bias", AddAxis(-1)))),
        *rows("a.blk.{a}.", TOWER + "layers.{a}.", WHISPER_BLOCK),
        *rows("a.", TOWER, {"post_ln": "layer_norm", "downsample.norm": "down_sample_norm"}),
        R("a.downsample.conv.weight", f"{TOWER}down_sample_layer.0.weight", type="F32"),
        R("a.rvq.codebook.weight", BOOKS + "embed", Pad("most_codes", "audio.rvq.codebook_size"), type="F32",
          each="audio.rvq.num_quantizers"),
    ),
    shapes={
        **MERGES, "v.blk.{v}.attn_qkv": "heads_and_kv*v.head width",
        "v.blk.{v}.attn_out": "width vision.attention.head_count*v.head",
        "v.blk.{v}.attn_sinks": "vision.attention.head_count", "mm.a.code_embd": "codes a.width",
        **block("mm.a.local_blk.{l}.", "a.width", "local", ""), "mm.a.local_norm": "a.width",
        "mm.a.mlp.1": "a.projected audio.local_group_size*a.width", "mm.a.mlp.2": "text a.projected",
        "a.downsample.norm": "a.width", "a.downsample.conv": "a.width a.width 2",
        "a.rvq.codebook": "audio.rvq.codebook_size a.width"},
    shown={"v.head": Shown("the runtime sees it in the tensors"),
           "codes": Shown("of the language model, as many in each table"),
           "local": Shown("the runtime sees it in the tensors")},
    stacks={"l": Stack("audio.local_block_count")}, sizes={
        "heads_and_kv": lambda hp: hp["vision.attention.head_count"] + 2 * hp["vision.attention.head_count_kv"],
        "most_codes": lambda hp: max(hp["audio.rvq.codebook_size"])},
    ignore=tuple(Template(BOOKS + name) for name in ("cluster_size", "embed_avg", "inited")), without=(f"{CODEC}/decoder.",),
    ids=IDS, text="", beside=CODEC, example="XiaomiMiMo/MiMo-V2.5",
)

SPECS = (MIMO25,)
