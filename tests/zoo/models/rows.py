"""The words that rows of the zoo are written in, and what several families share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Shapes = dict[str, tuple[int, ...]]  # tensor name -> shape

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
DECODER = SMALL | HEADS
THETA = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.45, 1.6, 1.8], "long_factor": [1.0, 1.3, 2.0, 3.1, 4.4, 6.0, 8.5, 12.0]}

PLAIN, GELU, RECURRENT = 2e-5, 1e-3, 1e-4  # tolerances: ggml looks GELU up in a float16 table, sums recurrences in another order
OUTTYPES = ("f32", "f16", "bf16", "q8_0")
LOST_WINDOW = "without ggufx's keys the sliding window is lost"
SCORE, TYPE, TOKENS = "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Fault:
    """What llama.cpp does wrong with a row, found by running it: data, so that tests can say why they differ.

    `converter`: why the converter's file is absent or wrong; `runtime`: why the runtime's numbers are. A converter's fault may be
    avoided by `config` (put into config.json), `drop` (tensors with this ending left out), `model` (the SentencePiece file of this
    kind put in), `index` (an index put beside the weights) or `options` (arguments); then the file is right except for the key-values and tensors in `keys`.
    With `keys` alone only these are wrong; without any of them there is no right file. `outtypes`: those that it heeds.
    """

    converter: str = ""
    runtime: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    drop: str = ""
    model: str = ""
    options: tuple[str, ...] = ()
    index: bool = False
    keys: tuple[str, ...] = ()
    outtypes: tuple[str, ...] = OUTTYPES

    @property
    def hopeless(self) -> bool:
        return bool(self.converter) and not (
            self.config or self.drop or self.model or self.options or self.index or self.keys)


NONE = Fault()


@dataclass(frozen=True)
class V4:
    """How transformers 4 wrote the same model: keys it did not have, keys it had besides, the name of the rope kind,
    names of tensors, tensors that were buffers then, and what llama.cpp does wrong with that."""

    drop: tuple[str, ...] = ()
    add: dict[str, Any] = field(default_factory=dict)
    rope_key: str = "rope_type"
    rename: Callable[[str], str] | None = None
    extra: Shapes = field(default_factory=dict)
    fault: Fault = NONE


@dataclass(frozen=True)
class Model:
    """One row.

    `config` goes to the class's configuration (special ids are put in, and the vocabulary's size under `vocab_keys`), `drop` and
    `add` change config.json after that. `float32` names tensors that stay float32 whatever `dtype`, `extra` makes shapes of
    tensors that the Hub ships but transformers does not know, `layout` "fused" stores experts in one tensor where transformers would
    not, `embeds` compares hidden states, `scores` a classifier's against the runtime's rank pooling, `pooling` and `dense` add the files of sentence-transformers, `zero_norms` says that norms are stored minus 1, `ranges` spreads
    the values of tensors with an ending evenly over [low, high).

    A class that only model repositories have, with code of their own, is described by `shapes`: `config` is its config.json as it
    stands (but for the vocabulary), and `shapes` makes of that the names and shapes of its tensors, most simply by `tensors`. Then nothing
    tells what it should compute: llama.cpp's converter judges the bytes, its runtime that they load and give finite numbers.

    A draft model names its `target`, a row whose folder stands beside it; it has no tokenizer of its own. `values` makes the
    elements of tensors that are no floats.

    What is known: `tolerance`, how far llama.cpp's float32 results may be from transformers', as a part of the largest value;
    `fp4`, the part of names of weights that are stored in FP4, as DeepSeek V4's experts are; `fp8`, endings of those in blocks of FP8, each
    with the number of GPUs whose rows have blocks of their own; `unadapted`, why no adapter is tried;
    `fault`, what llama.cpp does wrong; `lost`, why a checkpoint made of standard keys alone computes otherwise; `rounded`, that
    it has decays behind -exp(x), which come back from there to within a rounding of float32; `folded`, that multipliers are in its
    weights, which only an F32 file gives back.
    """

    name: str
    cls: str
    vocab: str
    config: dict[str, Any]
    dtype: str = "bfloat16"
    v4: V4 | None = None
    old: bool = False
    drop: tuple[str, ...] = ()
    add: dict[str, Any] = field(default_factory=dict)
    vocab_keys: tuple[str, ...] = ("vocab_size",)
    float32: tuple[str, ...] = ()
    extra: Callable[[Shapes], Shapes] | None = None
    shapes: Callable[[dict[str, Any]], Shapes] | None = None
    target: str = ""
    values: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    layout: str | None = None
    pooling: str | None = None
    dense: tuple[int, ...] = ()
    zero_norms: bool = False
    mxfp4: bool = False
    fp4: str = ""
    fp8: dict[str, int] = field(default_factory=dict)
    unadapted: str = ""
    card: bool = False
    embeds: bool = False
    scores: bool = False
    tolerance: float = PLAIN
    fault: Fault = NONE
    lost: str = ""
    rounded: bool = False
    folded: bool = False

    @property
    def stored_tolerance(self) -> float:
        """The tolerance of the weights as they are stored: ggml quantises activations for MXFP4."""
        return 5e-2 if self.mxfp4 else self.tolerance


def layer_like(source: str, target: str, *more: tuple[str, tuple[int, ...]]) -> Callable[[Shapes], Shapes]:
    """Extra tensors shaped like those of the layer `source`, under `target`, and `more`."""

    def extra(shapes: Shapes) -> Shapes:
        copies = {target + name[len(source) :]: shape for name, shape in shapes.items() if name.startswith(source)}
        return copies | dict(more)

    return extra


def tensors(rows: dict[str, str], b: str = "num_hidden_layers", e: str = "num_experts") -> Callable[[dict[str, Any]], Shapes]:
    """Shapes for `shapes`: {"model.layers.{b}.mlp.up_proj.weight": "2*intermediate_size hidden_size"}.

    Each dimension is an expression of config keys without spaces; `{b}` and `{e}` run over the number, or the numbers, that `b` and `e`
    are of the same kind.
    """

    def shapes(config: dict[str, Any]) -> Shapes:
        def value(text: str) -> Any:
            return eval(text, {"range": range}, config)  # a row of ours

        def numbers(name: str, hole: str, text: str) -> Iterable[int]:
            found = value(text) if f"{{{hole}}}" in name else 1
            return range(found) if isinstance(found, int) else found

        return {name.replace("{b}", str(block)).replace("{e}", str(expert)): tuple(value(text) for text in dimensions.split())
                for name, dimensions in rows.items()
                for block in numbers(name, "b", b) for expert in numbers(name, "e", e)}

    return shapes


L = "model.layers.{b}."
_HEAD = "hidden_size//num_attention_heads"
OUTSIDE = {"model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
           "model.norm.weight": "hidden_size"}
LLAMA_NAMES = OUTSIDE | {  # the names of a Llama, for `tensors`
    L + "input_layernorm.weight": "hidden_size", L + "post_attention_layernorm.weight": "hidden_size",
    L + "self_attn.q_proj.weight": f"num_attention_heads*({_HEAD}) hidden_size",
    L + "self_attn.k_proj.weight": f"num_key_value_heads*({_HEAD}) hidden_size",
    L + "self_attn.v_proj.weight": f"num_key_value_heads*({_HEAD}) hidden_size",
    L + "self_attn.o_proj.weight": f"hidden_size num_attention_heads*({_HEAD})",
    L + "mlp.gate_proj.weight": "intermediate_size hidden_size", L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    L + "mlp.down_proj.weight": "hidden_size intermediate_size",
}


def without(names: dict[str, str], *parts: str) -> dict[str, str]:
    """The names that have none of these parts."""
    return {name: shape for name, shape in names.items() if not any(part in name for part in parts)}


def biases(names: dict[str, str], *parts: str) -> dict[str, str]:
    """Biases for the names that have one of these parts."""
    return {name.removesuffix("weight") + "bias": shape.split()[0] for name, shape in names.items()
            if any(part in name for part in parts)}
