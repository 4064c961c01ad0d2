"""What Pocket TTS hears a voice with and makes sound with: Mimi's encoder and decoder, convolutions around a transformer each,
and the flow between its language model and sound.

Source: llama.cpp `conversion/pockettts.py`; the names in its published files.
"""

from __future__ import annotations

from itertools import pairwise

from .common import *

F, FLOW = "flow_lm.", "flow_lm.flow_net."
PART = "audio_config"
SETTINGS = {"embedding_length": "hidden_size", "feed_forward_length": "intermediate_size", "block_count": "num_hidden_layers",
         "attention.head_count": "num_attention_heads"}


def sized(side: str) -> tuple[HparamRule, ...]:
    """The keys of Mimi's encoder or decoder, which are of one size."""
    return (Const(f"has_{side.replace('.', '_')}_encoder", True, BOOL), Computed(f"{side}.projection_dim", text_width),
            Const(f"{side}.{NORM}", 1e-5, F32), *(H(f"{side}.{key}", f"{PART}.{hf}") for key, hf in SETTINGS.items()))


def transformed(prefix: str, hf: str, hole: str) -> tuple[TensorRule, ...]:
    """The blocks of a transformer of Mimi's."""
    gguf, hf = f"{prefix}blk.{hole}.", f"mimi.{hf}_transformer.transformer.layers.{hole}."
    return (
        *rows(gguf, hf, {"ln1": "norm1", "ln2": "norm2", "attn_out": "self_attn.out_proj", "ffn_up": "linear1",
                         "ffn_down": "linear2"}),
        R(tuple(f"{gguf}attn_{x}.weight" for x in "qkv"), hf + "self_attn.in_proj.weight", Split(3),
          shape="3*a.width a.width" if hole == "{a}" else "3*g.width g.width"),
        *(R(f"{gguf}ls{n}.weight", f"{hf}layer_scale_{n}.scale") for n in "12"),
    )


def convolved(prefix: str, hf: str, first: int, step: int, kind: str) -> tuple[TensorRule, ...]:
    """Convolutions around three stages, each of one that changes the rate (module `step`, of a `kind`) and of two beside the
    sound (module `first`); modules count on by three."""
    model = f"mimi.{hf}.model."
    names = {"conv_in": "0.conv", "conv_out": "11.conv"}
    for n in range(3):
        names |= {f"blk.{n}.res_conv{i}": f"{first + 3 * n}.block.{2 * i - 1}.conv" for i in (1, 2)}
        names[f"blk.{n}.scale_conv"] = f"{step + 3 * n}.{kind}"
    return tuple(row for gguf, name in names.items() for row in (
        R(f"{prefix}seanet.{gguf}.weight", f"{model}{name}.weight", type="F16"),
        R(f"{prefix}seanet.{gguf}.bias", f"{model}{name}.bias", need=False,  # a transposed one has its outputs second
          shape=f"d.{int(gguf[4]) + 1}" if name.endswith("convtr") else None)))


def seanet(prefix: str, side: str, width: str) -> dict[str, str]:
    """The shapes of the convolutions of a side: of the encoder, "e", from the sound to the transformer's `width`; of the
    decoder, "d", back, where those that change the rate are transposed. Between stages the channels are `side`.0 to 3."""
    at = [f"{side}.{n}" for n in range(4)]
    out = {"conv_in": f"{at[0]} {'1' if side == 'e' else width} {side}.conv_in",
           "conv_out": f"{width if side == 'e' else '1'} {at[3]} {side}.conv_out"}
    for n, (before, behind) in enumerate(pairwise(at)):
        beside, changed = (before, f"{behind} {before}") if side == "e" else (behind, f"{before} {behind}")
        out |= {f"blk.{n}.res_conv1": f"{side}.{n}.half {beside} {side}.{n}.kernel",
                f"blk.{n}.res_conv2": f"{beside} {side}.{n}.half 1", f"blk.{n}.scale_conv": f"{changed} {side}.{n}.scale"}
    return lengths(prefix, out)


SHAPES_OF_POCKET = {
    **lengths("a.", {"speaker_proj": "text a.width", "downsample.conv": "a.width a.width rate"}),
    **lengths("a.gen.", {"input_linear": "text latent", "emb_mean emb_std": "latent", "out_eos": "1 text",
                         "wav.upsample": "g.width 1 rate", "wav.quant_out": "g.width latent 1"}),
    **lengths("a.gen.flow.", {
        "input_proj": "flow latent", "cond_embd": "flow text", "final.proj": "latent flow", "final.ada": "2*flow flow",
        "time.{t}.freqs": "freqs", "time.{t}.norm": "flow", "time.{t}.up": "flow 2*freqs", "time.{t}.down": "flow flow",
        "blk.{f}.norm": "flow", "blk.{f}.up": "flow.inner flow", "blk.{f}.down": "flow flow.inner",
        "blk.{f}.ada": "3*flow flow"}),
    **block("a.gen.wav.tfm.blk.{g}.", "g.width", "g.inner", ""),
    **seanet("a.seanet.", "e", "a.width"), **seanet("a.gen.wav.seanet.", "d", "g.width")}
SHOWN_OF_POCKET = {name: Shown("no setting at all: checkpoints have no config.json") for name in (
    "latent", "flow", "flow.inner", "freqs", "rate", *(f"{side}.{name}" for side in "ed" for name in (
        "conv_in", "conv_out", *"0123", *(f"{n}.{part}" for n in range(3) for part in ("half", "kernel", "scale")))))}

POCKET_TTS = towered(
    "pocket_tts", ("PocketTTSModel",),
    hparams=(
        *sized("audio"), *sized("gen.audio"),
        projector_type("pockettts_spkenc", "audio.projector_type"), projector_type("pockettts_gen", "gen.audio.projector_type"),
        Const("audio.num_mel_bins", 1), H("gen.audio.model_variant", "model_variant", STRING),
    ),
    tensors=(
        R("a.speaker_proj.weight", F + "speaker_proj_weight"), R("a.gen.input_linear.weight", F + "input_linear.weight"),
        R("a.gen.emb_mean", F + "emb_mean"), R("a.gen.emb_std", F + "emb_std"), *rows("a.gen.", F, {"out_eos": "out_eos"}),
        *rows("a.gen.flow.", FLOW, {
            "input_proj": "input_proj", "cond_embd": "cond_embed", "final.proj": "final_layer.linear",
            "final.ada": "final_layer.adaLN_modulation.1"}),
        R("a.gen.flow.time.{t}.freqs", FLOW + "time_embed.{t}.freqs"),
        R("a.gen.flow.time.{t}.norm", FLOW + "time_embed.{t}.mlp.3.alpha"),
        *rows("a.gen.flow.time.{t}.", FLOW + "time_embed.{t}.", {"up": "mlp.0", "down": "mlp.2"}),
        *rows("a.gen.flow.blk.{f}.", FLOW + "res_blocks.{f}.", {
            "norm": "in_ln", "up": "mlp.0", "down": "mlp.2", "ada": "adaLN_modulation.1"}, need=False),
        R("a.downsample.conv.weight", "mimi.downsample.conv.conv.weight", type="F16"),
        R("a.gen.wav.upsample.weight", "mimi.upsample.convtr.convtr.weight", type="F16"),
        R("a.gen.wav.quant_out.weight", "mimi.quantizer.output_proj.weight", AddAxis(-1, undo=True)),
        *transformed("a.", "encoder", "{a}"), *transformed("a.gen.wav.tfm.", "decoder", "{g}"),
        *convolved("a.", "encoder", 1, 3, "conv"), *convolved("a.gen.wav.", "decoder", 3, 2, "convtr"),
    ),
    # Of the flow the runtime counts the blocks by their tensors.
    shapes=SHAPES_OF_POCKET, shown=SHOWN_OF_POCKET,
    stacks={"g": Stack("gen.audio.block_count"), "t": Stack("times"), "f": Stack("flows")},
    sizes={"g.width": lambda hp: hp["gen.audio.embedding_length"], "g.inner": lambda hp: hp["gen.audio.feed_forward_length"],
           "times": lambda hp: 2, "flows": lambda hp: 64}, text="", example="kyutai/pocket-tts",
)

SPECS = (POCKET_TTS,)
