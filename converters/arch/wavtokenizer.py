"""WavTokenizer's decoder, which makes sound of codes for OuteTTS: convolutions, one block of attention among them, and blocks
of ConvNeXt; what comes out is a spectrum.

Its checkpoint is PyTorch Lightning's. llama.cpp's `convert_pt_to_hf.py` rewrites it under the names below, biases with an axis
of 1 behind them where ggml adds them to frames, and of the norms that know several bandwidths the first alone; that is the
form that is read here, and comes back. Source: llama.cpp `conversion/wavtokenizer.py`, `src/models/wavtokenizer-dec.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

P, C = "backbone.posnet.{n}.", "backbone.convnext.{c}."
RESIDUAL, ATTENDING, NORMING = (0, 1, 3, 4), 2, 5  # which block of the position net is what, in the runtime
WIDE, INNER = "posnet.embedding_length", "convnext.embedding_length"
CONVOLVED = "it is a convolution, which the runtime computes without looking for adapters"
NORMED = "the runtime normalises without looking for adapters"


def blocks_of(*numbers: int) -> Callable[[Hparams, int], bool]:
    return lambda hp, b: b in numbers


def taps(gguf: str, hf: str, shape: str) -> tuple[TensorRule, ...]:
    """A convolution; its bias has an axis of 1 behind it."""
    return (R(f"{gguf}.weight", f"{hf}.weight", shape=shape, no_lora=CONVOLVED),
            R(f"{gguf}.bias", f"{hf}.bias", shape=f"{shape.split()[0]} 1"))


def broadcast(gguf: str, hf: str) -> tuple[TensorRule, ...]:
    """A norm over frames."""
    return tuple(R(f"{gguf}.{p}", f"{hf}.{p}", shape=f"{WIDE} 1", type="F32", no_lora=NORMED) for p in ("weight", "bias"))


WAVTOKENIZER = ArchSpec(
    "wavtokenizer-dec", ("WavTokenizerDec",), "wavtokenizer",
    hparams=(
        H("block_count", "n_layer"), CONTEXT_LENGTH, EMBEDDING_LENGTH, H("feed_forward_length", "n_ff"),
        H("attention.head_count", "n_head"), LN_EPSILON,
        H("vocab_size", "vocab_size"), H("features_length", "n_embd_features"),
        H("attention.group_norm_epsilon", "group_norm_epsilon", F32), H("attention.group_norm_groups", "group_norm_groups"),
        *(H(f"{net}.{key}", f"{net}.{hf}") for net in ("posnet", "convnext")
          for key, hf in {"embedding_length": "n_embd", "block_count": "n_layer"}.items()),
        Const("attention.causal", False, BOOL), Fixed("posnet.n_layer", 6, refuse=True),
        Fixed("convnext.n_layer", lambda c: c["n_layer"], refuse=True),
        Fixed("convnext.n_embd", lambda c: c["posnet"]["n_embd"], refuse=True), VOCAB_ROWS,
    ),
    tensors=(
        R("token_embd.weight", "backbone.embedding.weight", shape="vocab_size features_length", no_lora=NO_GATHER),
        *taps("conv1d", "backbone.embed", f"{WIDE} features_length 7"),
        *where(blocks_of(*RESIDUAL), *(row for n in "12" for row in (
            *broadcast(f"posnet.{{n}}.norm{n}", f"{P}norm{n}"),
            *taps(f"posnet.{{n}}.conv{n}", f"{P}conv{n}", f"{WIDE} {WIDE} 3")))),
        *where(blocks_of(ATTENDING, NORMING), *broadcast("posnet.{n}.attn_norm", P + "norm")),
        *where(blocks_of(ATTENDING), *(row for gguf, hf in {
            "attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "proj_out"}.items()
            for row in taps(f"posnet.{{n}}.{gguf}", P + hf, f"{WIDE} {WIDE} 1"))),
        *with_bias(R("token_embd_norm.{p}", "backbone.norm.{p}", shape=INNER)),
        *taps("convnext.{c}.dw", C + "dwconv", f"{INNER} 1 7"),
        *with_bias(R("convnext.{c}.norm.{p}", C + "norm.{p}", shape=INNER),
                   R("convnext.{c}.pw1.{p}", C + "pwconv1.{p}", shape=f"feed_forward_length {INNER}"),
                   R("convnext.{c}.pw2.{p}", C + "pwconv2.{p}", shape=f"{INNER} feed_forward_length")),
        R("convnext.{c}.gamma.weight", C + "gamma.weight", shape=INNER),
        *with_bias(R("output_norm.{p}", "backbone.final_layer_norm.{p}", shape=INNER),
                   R("output.{p}", "head.out.{p}", shape=f"embedding_length {INNER}")),
    ),
    stacks={"b": Stack(), "n": Stack("posnet.block_count"), "c": Stack("convnext.block_count")},
    ignore=tuple(Template(f"feature_extractor.encodec.quantizer.vq.layers.0._codebook.{name}")
                 for name in ("cluster_size", "embed_avg", "inited")),
    wordless=True, head=False, headless=("WavTokenizerDec",), example="novateur/WavTokenizer-large-speech-75token",
)

SPECS = (WAVTOKENIZER,)
