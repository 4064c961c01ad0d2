"""What happens to the values between a checkpoint and a GGUF file: about a dozen invertible operations.

An op sees lists of arrays, never names. Nearly all are one idea: an *index map* that permutes, cuts or drops rows or
columns (`IndexMap`). Such ops only move elements, so they work on raw bits of any element type, and a LoRA factor
passes by the same map: row maps act on B, column maps on A. A table writes an op with the names of hyperparameters
(`RopePermute("head_length")`); `bind` puts the numbers in, and the bound op is plain data inside a plan.

The laws, tested for every op and table row: `op.inverse.forward(op.forward(xs))` is `xs` bit for bit where `exact`;
`op.shape` is the shape of `op.forward`; the delta of `op.lora(factors)` is `op.forward(delta) - op.forward(0)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
Size = int | str  # a number, or (in a table) the name of the hyperparameter that holds it


@dataclass(frozen=True)
class Factors:
    """A low-rank update `b @ a`: a `[..., r, in]`, b `[..., out, r]`, float32; leading axes are experts or heads."""

    a: Array
    b: Array

    @property
    def rank(self) -> int:
        return self.a.shape[-2]

    @property
    def delta(self) -> Array:
        return self.b @ self.a


class LoraRefused(ValueError):
    """The update of a factorised weight is not low-rank, or not defined, behind this op."""


@dataclass(frozen=True)
class Op:
    """The identity on one array, and what every other op overrides in part."""

    moves: ClassVar[bool] = True  # only moves elements: works on the raw bits of any element type
    exact: ClassVar[bool] = True  # inverse(forward(x)) is x bit for bit

    @property
    def emits(self) -> str | None:
        """The type of the bytes that the op itself produces, where it is not the type that it takes."""
        return None

    @property
    def on_blocks(self) -> bool:
        """Whether the op works on rows of packed blocks as on rows of elements."""
        return type(self) is Op

    def bind(self, hp: Mapping[str, Any]) -> Self:
        """Replace the names of hyperparameters by their values. KeyError names one that is missing."""
        names = {f.name: v for f in fields(self) if f.type == "Size" and isinstance(v := getattr(self, f.name), str)}
        return replace(self, **{field: hp[name] for field, name in names.items()}) if names else self

    @property
    def inverse(self) -> Op:
        return self

    def shape(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes after the op. ValueError says what does not fit."""
        return list(shapes)

    def forward(self, xs: Sequence[Array]) -> list[Array]:
        return list(xs)

    def lora(self, factors: Sequence[Factors]) -> list[Factors]:
        """The factors of each output's update, from those of each input's. LoraRefused where there are none."""
        return list(factors)

    def units(self, shapes: Sequence[Shape]) -> int:
        """Into how many equal runs of axis 0 the arrays may be cut so that each is converted on its own."""
        return math.gcd(*(s[0] if s else 1 for s in shapes))

    def to_json(self) -> dict[str, Any]:
        return {"op": type(self).__name__, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Op:
        """The inverse of `to_json`; lists were tuples."""
        return cls(**values)


def multiple(what: str, whole: int, part: int) -> None:
    """ValueError unless `part` divides `whole`."""
    if part <= 0 or whole % part:
        raise ValueError(f"{what} {whole} is not a multiple of {part}")


@dataclass(frozen=True, kw_only=True)
class IndexMap(Op):
    """One array into one or more, each a selection of its rows (axis -2 of matrices, the last of vectors) or columns.

    `index(n)` gives the selected positions of each output. `undo` is the way back. `vector` says that the last axis is
    the row axis even of arrays with 2 dimensions (a bias per expert).
    """

    undo: bool = False
    vector: bool = False
    columns: ClassVar[bool] = False

    def index(self, n: int) -> list[Array]:
        raise NotImplementedError

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    @property
    def on_blocks(self) -> bool:
        return not self.columns and not self.vector

    def _axis(self, ndim: int) -> int:
        return -1 if self.columns or self.vector or ndim == 1 else -2

    def _length_back(self, lengths: Sequence[int]) -> int:
        return sum(lengths)

    def shape(self, shapes):
        axis = self._axis(len(shapes[0]))

        def with_length(s: Shape, n: int) -> Shape:
            return (*s[:axis], n, *(s[axis + 1 :] if axis + 1 else ()))

        if self.undo:
            n = self._length_back([s[axis] for s in shapes])
            if [len(i) for i in self.index(n)] != [s[axis] for s in shapes]:
                raise ValueError(f"shapes {shapes} are not what {type(self).__name__} makes of {n} rows")
            return [with_length(shapes[0], n)]
        (s,) = shapes
        return [with_length(s, len(i)) for i in self.index(s[axis])]

    def forward(self, xs):
        axis = self._axis(xs[0].ndim)
        if not self.undo:
            return [np.take(xs[0], i, axis) for i in self.index(xs[0].shape[axis])]
        (shape,) = self.shape([x.shape for x in xs])
        out = np.zeros(shape, xs[0].dtype)
        rows = np.moveaxis(out, axis, 0)
        for i, x in zip(self.index(shape[axis]), xs, strict=True):
            rows[i] = np.moveaxis(x, axis, 0)
        return [out]

    def lora(self, factors):
        if self.undo and len(factors) > 1:
            raise LoraRefused("factors of separate projections do not join into one pair of the same rank")
        on_matrix = replace(self, vector=False)
        if self.columns:
            return [Factors(a, factors[0].b) for a in on_matrix.forward([f.a for f in factors])]
        return [Factors(factors[0].a, b) for b in on_matrix.forward([f.b for f in factors])]

    def unit_rows(self, rows: int) -> int:
        """Rows that belong together; all of them unless a subclass knows better."""
        return rows

    def units(self, shapes):
        first = shapes[0]
        axis = self._axis(len(first)) % len(first)
        if axis == 0 and len(shapes) == 1 and len(self.index(first[0])) == 1:
            return first[0] // self.unit_rows(first[0])
        return 1 if axis == 0 else math.gcd(*(s[0] for s in shapes))


@dataclass(frozen=True)
class RopePermute(IndexMap):
    """Rows of each head from HF's half-split to ggml's interleaved rotary pairs. `head_length`: rows per head."""

    head_length: Size

    def index(self, n):
        multiple("number of rows", n, self.head_length)
        pairs = np.arange(n).reshape(-1, 2, self.head_length // 2).swapaxes(1, 2).ravel()
        return [pairs]

    def unit_rows(self, rows):
        return self.head_length


@dataclass(frozen=True)
class Split(IndexMap):
    """Consecutive runs of rows, of these relative sizes: fused projections. `Split((1, 1))` halves."""

    sizes: tuple[int, ...]

    def index(self, n):
        multiple("number of rows", n, sum(self.sizes))
        return np.split(np.arange(n), np.cumsum(self.sizes)[:-1] * (n // sum(self.sizes)))


@dataclass(frozen=True)
class Deinterleave(IndexMap):
    """Rows 0::count, 1::count, ... as `count` arrays."""

    count: int = 2

    def index(self, n):
        multiple("number of rows", n, self.count)
        return [np.arange(i, n, self.count) for i in range(self.count)]


@dataclass(frozen=True)
class TileHeads(IndexMap):
    """Value heads from grouped by key head (HF) to tiled (ggml's broadcast): rows after the first `start`."""

    key_heads: Size
    value_heads: Size
    start: Size = 0

    def index(self, n):
        multiple("number of value rows", n - self.start, self.value_heads)
        heads = np.arange(self.start, n).reshape(self.key_heads, self.value_heads // self.key_heads, -1)
        return [np.concatenate([np.arange(self.start), heads.swapaxes(0, 1).ravel()])]


@dataclass(frozen=True)
class TileHeadColumns(TileHeads):
    """`TileHeads` on the columns: a projection that reads the value heads."""

    columns: ClassVar[bool] = True

    def units(self, shapes):
        return shapes[0][0]


@dataclass(frozen=True)
class Crop(IndexMap):
    """Rows `start` to `stop` (None: to the end) of a table; the others are not in GGUF and come back as zeros.

    `rows` is the table's length before, for the way back.
    """

    start: Size = 0
    stop: Size | None = None
    rows: Size | None = None

    exact: ClassVar[bool] = False

    def bind(self, hp):
        bound = super().bind(hp)
        optional = {k: hp.get(v) for k in ("stop", "rows") if isinstance(v := getattr(bound, k), str)}
        return replace(bound, **optional)

    def index(self, n):
        return [np.arange(self.start, n if self.stop is None else min(n, self.stop))]

    def rows_before(self, rows: int) -> int:
        """Rows of the whole table of which `rows` are left."""
        return self.rows if self.rows is not None else rows + self.start

    def _length_back(self, lengths):
        return self.rows_before(lengths[0])


@dataclass(frozen=True)
class Transpose(Op):
    """Swap the last two axes."""

    def shape(self, shapes):
        if any(len(s) < 2 for s in shapes):
            raise ValueError("a tensor of at least 2 dimensions is needed")
        return [(*s[:-2], s[-1], s[-2]) for s in shapes]

    def forward(self, xs):
        return [np.ascontiguousarray(x.swapaxes(-1, -2)) for x in xs]

    def lora(self, factors):
        return [Factors(*self.forward([f.b, f.a])) for f in factors]

    def units(self, shapes):
        return math.gcd(*(s[0] if len(s) > 2 else 1 for s in shapes))


@dataclass(frozen=True)
class Conv1dStorage(Transpose):
    """GPT-2 stores a linear layer as [in, out]; PEFT's factors are [out, in] already, so only the weight turns."""

    def lora(self, factors):
        return list(factors)


@dataclass(frozen=True)
class Squeeze(Op):
    """Drop an axis of length 1, counted from the last; the inverse puts it back."""

    axis: int
    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    def shape(self, shapes):
        (s,) = shapes
        if self.undo:
            at = len(s) + 1 + self.axis
            return [(*s[:at], 1, *s[at:])]
        at = len(s) + self.axis
        if at < 0 or s[at] != 1:
            raise ValueError(f"axis {self.axis} of shape {list(s)} is not of length 1")
        return [(*s[:at], *s[at + 1 :])]

    def forward(self, xs):
        return [xs[0].reshape(self.shape([xs[0].shape])[0])]

    def lora(self, factors):
        raise LoraRefused("a convolution or vector has no low-rank update")

    def units(self, shapes):
        return shapes[0][0] if len(shapes[0]) > 2 else 1


@dataclass(frozen=True)
class Add(Op):
    """x + value in float32: norm weights that a model stores as an offset from one.

    Not exact in general: (w + 1) - 1 in float32 returns every bf16 w of at least 2**-16, but float32 values lose bits.
    """

    value: float
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self) -> Op:
        return Add(-self.value)

    def forward(self, xs):
        return [x + np.float32(self.value) for x in xs]


@dataclass(frozen=True)
class NegExp(Op):
    """x -> -exp(x), rounded once to float32: the decay of state-space layers, which HF stores as its logarithm.

    In float64, since the float32 exp of one library, or of one processor, is not that of another.
    """

    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self) -> Op:
        return NegExp(not self.undo)

    def forward(self, xs):
        wide = [x.astype(np.float64) for x in xs]
        return [(np.log(-x) if self.undo else -np.exp(x)).astype(np.float32) for x in wide]

    def lora(self, factors):
        raise LoraRefused("an update behind -exp(x) is not low-rank")


@dataclass(frozen=True)
class MlaKv(Op):
    """DeepSeek's kv_b `[heads * (key + value), rank]` into k_b `[heads, rank, key]` and v_b `[heads, value, rank]`."""

    heads: Size
    key_length: Size
    value_length: Size
    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    def shape(self, shapes):
        h, k, v = self.heads, self.key_length, self.value_length
        if self.undo:
            return [(h * (k + v), shapes[0][1])]
        ((rows, rank),) = shapes
        if rows != h * (k + v):
            raise ValueError(f"{rows} rows are not {h} heads of {k} + {v}")
        return [(h, rank, k), (h, v, rank)]

    def forward(self, xs):
        if self.undo:
            k_b, v_b = xs
            return [np.concatenate([k_b.swapaxes(1, 2), v_b], 1).reshape(-1, v_b.shape[2])]
        (x,) = xs
        kv = x.reshape(-1, self.key_length + self.value_length, x.shape[1])
        key = kv[:, : self.key_length].swapaxes(1, 2)
        return [np.ascontiguousarray(key), np.ascontiguousarray(kv[:, self.key_length :])]

    def lora(self, factors):
        # Per head, (B_h A)^T = A^T B_h^T: the key's factors change places; A is shared by all heads.
        (f,) = factors
        if self.undo:
            raise LoraRefused("factors of k_b and v_b do not join into one pair of the same rank")
        b = f.b.reshape(self.heads, self.key_length + self.value_length, f.rank)
        a = np.broadcast_to(f.a, (self.heads, *f.a.shape))
        key = b[:, : self.key_length]
        return [
            Factors(np.ascontiguousarray(key.swapaxes(1, 2)), np.ascontiguousarray(a.swapaxes(1, 2))),
            Factors(np.ascontiguousarray(a), np.ascontiguousarray(b[:, self.key_length :])),
        ]

    def units(self, shapes):
        return self.heads


@dataclass(frozen=True)
class PackMxfp4(Op):
    """OpenAI's MXFP4 (blocks uint8 `[..., n, 16]`, scales uint8 `[..., n]`) into ggml's blocks, bit for bit.

    The checkpoint pairs neighbouring elements in a byte (2i low, 2i+1 high); ggml pairs i and i + 16.
    """

    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    @property
    def emits(self) -> str | None:
        return "U8" if self.undo else "MXFP4"

    @property
    def on_blocks(self) -> bool:
        return True

    def shape(self, shapes):
        if self.undo:
            (s,) = shapes
            multiple("row length", s[-1], 32)
            return [(*s[:-1], s[-1] // 32, 16), (*s[:-1], s[-1] // 32)]
        blocks, scales = shapes
        if blocks != (*scales, 16):
            raise ValueError(f"blocks {list(blocks)} do not belong to scales {list(scales)}")
        return [(*scales[:-1], scales[-1] * 32)]

    def forward(self, xs):
        if self.undo:
            (x,) = xs
            x = x.reshape(*x.shape[:-1], -1, 17)
            codes = np.concatenate([x[..., 1:] & 15, x[..., 1:] >> 4], -1)
            return [codes[..., 0::2] | codes[..., 1::2] << 4, np.ascontiguousarray(x[..., 0])]
        blocks, scales = xs
        codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(*blocks.shape[:-1], 32)
        packed = np.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], -1)
        return [packed.reshape(*scales.shape[:-1], -1)]

    def lora(self, factors):
        raise LoraRefused("an MXFP4 weight takes no update; use the bf16 checkpoint as base")


OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (Op, RopePermute, Split, Deinterleave, TileHeads, TileHeadColumns, Crop, Transpose, Conv1dStorage,
               Squeeze, Add, NegExp, MlaKv, PackMxfp4)
}


def op_from_json(data: Mapping[str, Any]) -> Op:
    """The inverse of `Op.to_json`."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "op"}
    return OPS[data["op"]].from_json(values)
