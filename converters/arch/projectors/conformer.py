"""Conformers: blocks of attention and convolution between two halves of a feed-forward layer. Granite Speech, whose queries
take what was heard window by window; LFM2-Audio, of which the half that speaks is left out.

Their norms by what was seen in training are folded into scales and shifts. Source: llama.cpp `conversion/granite.py`,
`conversion/lfm2.py`; transformers `models/granite_speech`, `granite_speech_plus`; for LFM2-Audio the names in its published
files.
"""

from __future__ import annotations

from .common import *

CONV_NORM = ("weight", "bias", "running_mean", "running_var")


def folded(block: str, width: str) -> tuple[TensorRule, ...]:
    """The norm behind the convolution of each block."""
    return (R(("a.blk.{a}.conv_norm.weight", "a.blk.{a}.conv_norm.bias"), tuple(
        f"{block}conv.batch_norm.{name}" for name in CONV_NORM), BatchNorm(), shape=width),)


def convolved(block: str, names: Mapping[str, str]) -> tuple[TensorRule, ...]:
    """Convolutions over one frame, or of one channel with itself, which are stored as matrices."""
    return tuple(row for gguf, name in names.items() for row in (
        R(f"a.blk.{{a}}.{gguf}.weight", f"{block}conv.{name}.weight", AddAxis(1 if gguf == "conv_dw" else -1, undo=True),
          type="F32"),
        R(f"a.blk.{{a}}.{gguf}.bias", f"{block}conv.{name}.bias", need=False)))


# -- Granite Speech ---------------------------------------------------------------------------------------------------

E, Q = "encoder.layers.{a}.", "projector.qformer.encoder.layer.{q}."
EC, PC = "encoder_config", "projector_config"
QUERYING = 2  # blocks of the projector, in the runtime
SOUND = {"sample_rate": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160}


def wide(config: Config) -> int:
    """What a window of frames has per frame: the last states, and those of the layers that are heard beside them."""
    return config[EC]["hidden_dim"] * (len(config[EC].get("cat_hidden_layers") or ()) + 1)


GRANITE_SPEECH = towered(
    "granite_speech", ("GraniteSpeechForConditionalGeneration", "GraniteSpeechPlusForConditionalGeneration"),
    hparams=(
        *but(hearing(epsilon=None), H("audio.embedding_length", f"{EC}.hidden_dim"), H("audio.block_count", f"{EC}.num_layers"),
             Computed("audio.feed_forward_length", lambda c: c[EC]["hidden_dim"] * c[EC].get("feedforward_mult", 4),
                      f"{EC}.feedforward_mult", lambda kv: kv["audio.feed_forward_length"] // kv["audio.embedding_length"]),
             H("audio.attention.head_count", f"{EC}.num_heads"), H("audio.num_mel_bins", f"{EC}.input_dim")),
        projector_type("granite_speech"), Const(f"audio.{NORM}", 1e-5, F32),
        H("audio.chunk_size", f"{EC}.context_size"), H("audio.conv_kernel_size", f"{EC}.conv_kernel_size"),
        H("audio.max_pos_emb", f"{EC}.max_pos_emb"), H("audio.projector.window_size", "window_size"),
        H("audio.projector.downsample_rate", "downsample_rate"), H("audio.projector.head_count", f"{PC}.num_attention_heads"),
        H("audio.feature_layer", f"{EC}.cat_hidden_layers", need=False),
        Fixed(f"{EC}.dim_head", lambda c: c[EC]["hidden_dim"] // c[EC]["num_heads"], refuse=True),
        Seen(f"{EC}.output_dim", size("a.enc_ctc_out.weight")),
        Seen(f"{EC}.conv_expansion_factor",
             lambda facts: facts.tensors["a.blk.0.conv_dw.weight"][0] // facts.kv["audio.embedding_length"]),
        Fixed(f"{PC}.hidden_size", lambda c: c[EC]["hidden_dim"], refuse=True),
        Fixed(f"{PC}.encoder_hidden_size", wide, refuse=True),
        Seen(f"{PC}.intermediate_size", size("a.proj_blk.0.ffn_up.weight")),
        *(Fixed(f"{PC}.{key}", value, refuse=True) for key, value in {
            "num_hidden_layers": QUERYING, "cross_attention_frequency": 1, "hidden_act": "gelu",
            "layer_norm_eps": 1e-12}.items()),
        *(Fixed(f"processor.melspec_kwargs.{key}", value, refuse=True) for key, value in SOUND.items()),
        Seen("processor.melspec_kwargs.n_mels", lambda facts: facts.kv["audio.num_mel_bins"] // 2),
        Note("of the layers that are heard beside the last, the runtime takes the middle one without what its CTC head adds",
             lambda c: c[EC]["num_layers"] // 2 in (c[EC].get("cat_hidden_layers") or ())),
        Note("its language model hears with the adapter that lies beside it: lora-to-gguf writes that to a file of its own",
             lambda c: c.get("has_lora_adapter", True)),
    ),
    tensors=(
        *rows("a.", "encoder.", {"input_projection": "input_linear", "enc_ctc_out": "out", "enc_ctc_out_mid": "out_mid"}),
        *rows("a.blk.{a}.", E, {
            "ffn_norm": "ff1.pre_norm", "ffn_up": "ff1.up_proj", "ffn_down": "ff1.down_proj", "ffn_norm_1": "ff2.pre_norm",
            "ffn_up_1": "ff2.up_proj", "ffn_down_1": "ff2.down_proj", "ln1": "attn.pre_norm", "ln2": "post_norm",
            "attn_q": "attn.to_q", "attn_out": "attn.to_out", "norm_conv": "conv.norm"}),
        R(("a.blk.{a}.attn_k.weight", "a.blk.{a}.attn_v.weight"), E + "attn.to_kv.weight", Split((1, 1)),
          shape="2*a.width a.width"),
        R("a.blk.{a}.attn_rel_pos_emb", E + "attn.rel_pos_emb.weight", type="F32"),
        *convolved(E, {"conv_pw1": "up_conv", "conv_pw2": "down_conv", "conv_dw": "depth_conv.conv"}), *folded(E, "convolved"),
        R("a.proj_query", "projector.query", type="F32"),
        *rows("a.", "projector.", {"proj_norm": "qformer.layernorm", "proj_linear": "linear"}),
        *rows("a.proj_blk.{q}.", Q, {
            f"{kind}_attn_{part}": f"{hf}.{name}" for kind, hf in (("self", "attention"), ("cross", "crossattention"))
            for part, name in {"q": "attention.query", "k": "attention.key", "v": "attention.value", "out": "output.dense",
                               "norm": "output.LayerNorm"}.items()}),
        *rows("a.proj_blk.{q}.", Q, {
            "ffn_up": "intermediate_query.dense", "ffn_down": "output_query.dense", "ffn_norm": "output_query.LayerNorm"}),
    ),
    shapes={
        **lengths("a.", {"input_projection": "a.width mel", "enc_ctc_out": "written a.width",
                         "enc_ctc_out_mid": "a.width written", "proj_query": "1 queries a.width",
                         "proj_norm": "a.width", "proj_linear": "text a.width"}),
        **lengths("a.blk.{a}.", {"attn_rel_pos_emb": "distances a.head", "conv_pw1": "2*convolved a.width 1",
                                 "conv_pw2": "a.width convolved 1", "conv_dw": "convolved 1 audio.conv_kernel_size"}),
        **block("a.proj_blk.{q}.", "a.width", "q.inner", ""),
        **lengths("a.proj_blk.{q}.", {
            "self_attn_q self_attn_k self_attn_v self_attn_out cross_attn_q cross_attn_out": "a.width a.width",
            "cross_attn_k cross_attn_v": "a.width heard_beside*a.width", "self_attn_norm cross_attn_norm": "a.width"})},
    shown={"written": Shown("characters that the ear alone would write", (f"{EC}.output_dim",)),
           "convolved": Shown("the runtime sees it in the tensors",
                              lambda c: c[EC]["hidden_dim"] * c[EC]["conv_expansion_factor"]),
           "q.inner": Shown("the runtime sees it in the tensors", (f"{PC}.intermediate_size",))},
    stacks={"q": Stack("querying")},
    sizes={"querying": lambda hp: QUERYING, "distances": lambda hp: 2 * hp["audio.max_pos_emb"] + 1,
           "queries": lambda hp: hp["audio.projector.window_size"] // hp["audio.projector.downsample_rate"],
           "heard_beside": lambda hp: 1 + len(hp.get("audio.feature_layer", ()))},
    ignore=(Template("encoder.attention_dists"), Template(E + "attn.attention_dists"),
            Template(E + "conv.batch_norm.num_batches_tracked")),
    aliases=(("model.encoder.", "encoder."), ("model.projector.", "projector.")),
    tells={"GraniteSpeechPlusForConditionalGeneration": says("clip.audio.feature_layer")},
    ids={"audio_token_index": "<|audio|>"}, example="ibm-granite/granite-speech-3.3-2b",
)

# -- LFM2-Audio -------------------------------------------------------------------------------------------------------

C = "conformer.layers.{a}."
WIDE = 512  # the runtime's positions
# What it speaks with, for which the runtime has no place.
SPEAKING = (
    "audio_loss_weights", "codebook_offsets", "depth_linear.{p}",
    *(f"depth_embeddings.{{s}}.{name}.weight" for name in ("embedding", "embedding_norm", "to_logits")),
    *(f"depthformer.layers.{{s}}.{name}.weight" for name in (
        "operator_norm", "ffn_norm", "operator.qkv_proj", "operator.out_proj", "operator.bounded_attention.q_layernorm",
        "operator.bounded_attention.k_layernorm", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")),
)
LFM2_AUDIO = towered(
    "lfm2_audio", ("Lfm2AudioForConditionalGeneration",),
    hparams=(
        *but(hearing(epsilon=None), H("audio.embedding_length", "encoder.d_model"), H("audio.block_count", "encoder.n_layers"),
             Computed("audio.feed_forward_length", lambda c: c["encoder"]["d_model"]),  # which the runtime sees in the tensors
             H("audio.attention.head_count", "encoder.n_heads"), H("audio.num_mel_bins", "encoder.feat_in")),
        projector_type("lfm2a"), Const(f"audio.{NORM}", 1e-5, F32),
        Seen("encoder.ff_expansion_factor",
             lambda facts: facts.tensors["a.blk.0.ffn_up.weight"][0] // facts.kv["audio.embedding_length"]),
        Seen("encoder.conv_kernel_size", size("a.blk.0.conv_dw.weight", 1)),
        *(Fixed(f"encoder.{key}", value, refuse=True) for key, value in {
            "subsampling": "dw_striding", "subsampling_factor": 8, "self_attention_model": "rel_pos", "xscaling": False,
            "conv_norm_type": "batch_norm"}.items()),
        *(Fixed(f"preprocessor.{key}", value, refuse=True) for key, value in {
            "sample_rate": 16000, "window_size": 0.025, "window_stride": 0.01, "n_fft": 512}.items()),
        Seen("preprocessor.features", fact("audio.num_mel_bins")),
        Note(f"the runtime takes towers {WIDE} wide, and stops at this one", lambda c: c["encoder"]["d_model"] != WIDE),
    ),
    tensors=(
        *rows("a.blk.{a}.", C, {
            "ffn_norm": "norm_feed_forward1", "ffn_up": "feed_forward1.linear1", "ffn_down": "feed_forward1.linear2",
            "ffn_norm_1": "norm_feed_forward2", "ffn_up_1": "feed_forward2.linear1", "ffn_down_1": "feed_forward2.linear2",
            "ln1": "norm_self_att", "ln2": "norm_out", "norm_conv": "norm_conv", "linear_pos": "self_attn.linear_pos",
            **{f"attn_{x}": f"self_attn.linear_{x}" for x in ("q", "k", "v", "out")}}),
        *(R(f"a.blk.{{a}}.pos_bias_{x}", f"{C}self_attn.pos_bias_{x}", type="F32") for x in "uv"),
        *convolved(C, {"conv_pw1": "pointwise_conv1", "conv_pw2": "pointwise_conv2", "conv_dw": "depthwise_conv"}),
        *folded(C, "a.width"),
        *(row for n in (0, 2, 3, 5, 6) for row in (
            R(f"a.conv1d.{n}.weight", f"conformer.pre_encode.conv.{n}.weight", type="F32"),
            R(f"a.conv1d.{n}.bias", f"conformer.pre_encode.conv.{n}.bias", AddAxis(-1), AddAxis(-1)))),
        *rows("a.", "conformer.", {"pre_encode.out": "pre_encode.out"}),
        *rows("mm.a.mlp.", "audio_adapter.model.", {n: n for n in "013"}),
        R("a.position_embd.weight", "audio_embedding.embedding.weight", type="F32"),
        R("a.position_embd_norm.weight", "audio_embedding.embedding_norm.weight"),
        R("a.embd_to_logits.weight", "audio_embedding.to_logits.weight", need=False),
    ),
    shapes={
        **lengths("a.blk.{a}.", {"ffn_up ffn_up_1": "mlp a.width", "ffn_down ffn_down_1": "a.width mlp",
                                 "conv_dw": "a.width 1 kernel"}),
        **lengths("a.", {"conv1d.0 conv1d.2 conv1d.5": "channels 1 3 3", "conv1d.3 conv1d.6": "channels channels 1 1",
                         "pre_encode.out": "a.width sampled", "position_embd": "sounds sounding",
                         "position_embd_norm": "sounding", "embd_to_logits": "sounds sounding"}),
        **lengths("mm.a.mlp.", {"0": "a.width", "1": "a.projected a.width", "3": "text a.projected"})},
    shown={"mlp": Shown("the key has the tower's width",
                        lambda c: c["encoder"]["d_model"] * c["encoder"]["ff_expansion_factor"]),
           "kernel": Shown("the runtime sees it in the tensor", ("encoder.conv_kernel_size",)),
           "sampled": Shown("what the convolutions leave of the channels and bands"),
           "sounds": Shown("of what it speaks with"), "sounding": Shown("of what it speaks with")},
    text="lfm", ignore=(Template(C + "conv.batch_norm.num_batches_tracked"), *map(Template, SPEAKING)),
    example="LiquidAI/LFM2-Audio-1.5B",
)

SPECS = (GRANITE_SPEECH, LFM2_AUDIO)
