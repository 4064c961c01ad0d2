"""Stored forms with whole numbers of few bits: compressed-tensors, GPTQ, AWQ, MLX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import InputError
from ...io.files import printable
from ...notes import Note
from ...ops import Grid
from .tensor import PackedTensor, Parts

WORD = 32  # bits
ZEROS = 1 << 24  # bytes of them that are looked at together
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # which of a word's eight outputs each nibble is, the lowest first
PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}  # of GPTQModel's gptq_p; 2, 4 and 8 bits are one plane
LANES, RUN = 4, 64  # AWQ for fast products of vectors: so many columns of four rows lie together


def fast_order() -> tuple[int, ...]:
    """Row and column (row * RUN + column) of each of the codes that lie together, as AutoAWQ shuffles them for its kernel:
    pairs of a run of 32 by fours, then each eight as its even ones and its odd ones."""
    places = np.arange(RUN).reshape(2, 4, 4, 2).transpose(0, 2, 1, 3).reshape(2, 4, 4, 2).transpose(0, 1, 3, 2).reshape(-1)
    return tuple(int(row * RUN + column) for row in range(LANES) for column in places)


def compressed(parts: Parts) -> PackedTensor:
    """compressed-tensors, pack-quantized: rows of words, codes of 2 to 8 bits that are stored plus half their range.

    Since 0.18 codes of 3, 5, 6, 7 bits straddle words; before, a word held as many as fit whole. The width tells.
    """
    stacked = parts.count is not None and parts.stored["shape"].shape == (3,)
    *count, rows, cols = parts.numbers("shape", 3 if stacked else 2)
    held = parts.shape("codes")
    if stacked and count != [parts.count]:
        raise parts.unfit("codes", f"words of {[*count, rows, cols]}")
    if len(held) != 2 or held[0] != rows or not 0 < cols <= WORD * held[1]:
        raise parts.unfit("codes", f"words of {[rows, cols]}")
    bits, dense = _bits(held[1], cols, parts)
    shape, shared = parts.shared("scales", (rows, cols))
    zeros = parts.stored.get("zeros")
    more: list[Any] = []
    if zeros is not None and zeros.type in ("I32", "U32"):
        words = -(-rows * bits // WORD) if dense else -(-rows // (WORD // bits))
        more = [("zeros", Grid("U", bits, axis=0, dense=dense), (words, shape[1]))]
    elif zeros is not None:
        more = [("zeros", Grid("I"), shape)]  # by other hands: the zero itself, with its sign
    kind = "U" if zeros is not None and zeros.type in ("I32", "U32") else "U-"
    if "groups" in parts.stored and _reordered(parts, cols, shared[1]):
        more.append(("groups", Grid()))
    return parts.made(f"int{bits}", (rows, cols), shared, ("codes", Grid(kind, bits, dense=dense)), ("scales", Grid(), shape),
                      *more)


def _bits(words: int, cols: int, parts: Parts) -> tuple[int, bool]:
    """Bits of a code, and whether codes straddle words: those declared, where they fit, else the first that do."""
    declared = list(dict.fromkeys(_declared_bits(parts.declared)))
    version = str(parts.declared.get("version") or "1").split(".")
    older = version[0] == "0" and version[1:] != [] and version[1].isdecimal() and int(version[1]) < 18
    for bits in (*declared, 4, 8, *(b for b in (2, 3, 5, 6, 7) if b not in declared)):
        wide = {True: -(-cols * bits // WORD), False: -(-cols // (WORD // bits))}
        for dense in (False, True) if older else (True, False):
            if words == wide[dense]:
                return bits, dense
    raise parts.unfit("codes", f"words that hold {cols} codes of 2 to 8 bits")


def _declared_bits(declared: Mapping[str, Any]) -> Iterator[int]:
    groups = declared.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        bits = weights.get("num_bits") if isinstance(weights, Mapping) else None
        if type(bits) is int and 2 <= bits <= 8:
            yield bits


def gptq(parts: Parts) -> PackedTensor:
    """GPTQ: words down the columns of the turned matrix; zeros of version 1 are stored less one."""
    words, rows = _matrix(parts, "codes")
    groups, outs = _matrix(parts, "scales")
    if outs != rows:
        raise parts.unfit("scales", f"{rows} columns")
    zero_words = _matrix(parts, "zeros")[1] if "zeros" in parts.stored else None
    bits = zero_words * WORD // rows if zero_words is not None else parts.declared.get("bits")
    if type(bits) is not int or not 2 <= bits <= 8 or (zero_words is not None and zero_words * WORD != rows * bits):
        raise parts.unfit("zeros" if zero_words is not None else "codes", f"zeros of 2 to 8 bits for {rows} columns")
    if words * WORD % bits:
        raise parts.unfit("codes", f"whole words of {bits} bits")
    cols = words * WORD // bits
    size = parts.declared.get("group_size")
    group = size if type(size) is int and size > 0 and -(-cols // size) == groups else -(-cols // groups)
    if -(-cols // group) != groups:
        raise parts.unfit("scales", f"groups of {group} of {cols} columns")
    more: list[Any] = []
    symmetric = False
    planes = PLANES.get(bits, ()) if _format(parts) == "gptq_p" else ()
    if zero_words is not None:
        if _matrix(parts, "zeros")[0] != groups:
            raise parts.unfit("zeros", f"{groups} rows")
        plain, symmetric = _plain_zeros(parts, Grid("U", bits, planes=planes))
        more.append(("zeros", Grid("U" if plain else "U+1", bits, turned=True, planes=planes)))
    if "groups" in parts.stored and _reordered(parts, cols, group):
        more.append(("groups", Grid()))
    codes = Grid("U" if zero_words is not None else "U-", bits, axis=0, turned=True, planes=planes)
    return parts.made(f"GPTQ int{bits}", (rows, cols), (1, group), ("codes", codes), ("scales", Grid(turned=True)), *more,
                      symmetric=symmetric)


def _reordered(parts: Parts, cols: int, width: int) -> bool:
    """Whether the groups of the columns do not follow each other. Where a file says nothing (all 0, or -1) they do."""
    if parts.shape("groups") != (cols,) or parts.stored["groups"].type != "I32":
        raise parts.unfit("groups", f"I32 {[cols]}")
    found = np.frombuffer(parts.values("groups"), "<i4")
    if (found == -1).all() or not found.any():
        return False
    if found.min() < 0 or found.max() >= -(-cols // width):
        raise parts.unfit("groups", f"numbers of {-(-cols // width)} groups")
    return bool((found != np.arange(cols) // width).any())


def _format(parts: Parts) -> str:
    return str(parts.declared.get("checkpoint_format") or parts.declared.get("format") or "").lower()


def _plain_zeros(parts: Parts, grid: Grid) -> tuple[bool, bool]:
    """Whether zeros are stored as they are, and whether they are symmetric by their first row: then they show it, whatever the
    label, being half the range. `grid`: how a row of them is stored."""
    words, first = _first_zeros(parts, grid)
    packing = str(parts.declared.get("packing_format") or parts.declared.get("backend") or "")
    label = _format(parts) in ("gptq_v2", "gptq_p") or packing in ("auto_round", "auto_round:gptqmodel")
    half = 1 << grid.bits - 1
    for value, plain in ((half, True), (half - 1, False)):
        if parts.declared.get("sym", True) and (first == value).all():
            if plain == label or _repeated(parts, words):
                return plain, True
            parts.notes.append(Note("sym is true, and not all zeros are half the range: they are read as the label says",
                                    parts.name))
    return label, False


def _first_zeros(parts: Parts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The first row of zeros as it is stored, and its codes: of whole columns, those of one group."""
    words = np.frombuffer(parts.values("zeros", parts.shape("zeros")[1] * WORD // 8), "<u4")
    return words, replace(grid, turned=False).codes(words[None], len(words) * WORD // grid.bits)


def _repeated(parts: Parts, first: np.ndarray) -> bool:
    """Whether all rows of zeros are as the first."""
    zeros = parts.stored["zeros"]
    for start in range(0, zeros.nbytes, step := max(ZEROS // first.nbytes, 1) * first.nbytes):
        some = parts.read(zeros.file, zeros.offset + start, min(step, zeros.nbytes - start))
        if (np.frombuffer(some, "<u4").reshape(-1, first.size) != first).any():
            return False
    return True


def awq(parts: Parts) -> PackedTensor:
    """AWQ, gemm: words along the rows of the turned matrix, eight outputs each in an order of their own."""
    cols, words = _matrix(parts, "codes")
    groups, rows = _matrix(parts, "scales")
    if rows != 8 * words or cols % groups:
        raise parts.unfit("scales", f"{8 * words} columns")
    more = []
    symmetric = False
    packing = Grid("U", 4, turned=True, order=AWQ_ORDER)
    if "zeros" in parts.stored:
        if _matrix(parts, "zeros") != (groups, words):
            raise parts.unfit("zeros", [groups, words])
        more = [("zeros", packing)]
        symmetric = bool((_first_zeros(parts, packing)[1] == 8).all())
    codes = packing if more else replace(packing, kind="U-")
    return parts.made("AWQ int4", (rows, cols), (1, cols // groups), ("codes", codes), ("scales", Grid(turned=True)), *more,
                      symmetric=symmetric)


def quark(parts: Parts) -> PackedTensor:
    """Quark's int4 and uint4, of groups: as AWQ's, with signed codes where there are no zeros, and its order unless declared
    otherwise."""
    cols, words = _matrix(parts, "codes")
    groups, rows = _matrix(parts, "scales")
    if rows != 8 * words or cols % groups:
        raise parts.unfit("scales", f"{8 * words} columns")
    export = parts.declared.get("export")
    plain = isinstance(export, Mapping) and export.get("pack_method") == "order"
    signed = "zeros" not in parts.stored or "uint4" not in str(parts.declared.get("global_quant_config"))
    packing = Grid("I" if signed else "U", 4, turned=True, order=() if plain else AWQ_ORDER)
    more = [("zeros", packing, (groups, words))] if "zeros" in parts.stored else []
    return parts.made("Quark int4", (rows, cols), (1, cols // groups), ("codes", packing), ("scales", Grid(turned=True)), *more)


def awq_gemv(parts: Parts) -> PackedTensor:
    """AWQ, gemv: words along the rows; scales and zeros are padded to whole words."""
    rows, words = _matrix(parts, "codes")
    cols = 8 * words
    padded = _matrix(parts, "scales")
    zero_words = _matrix(parts, "zeros")
    group = _awq_group(parts, cols)
    if padded[0] != rows or padded[1] < cols // group or zero_words != (rows, padded[1] // 8):
        raise parts.unfit("scales", f"{cols // group} groups or more of {rows} rows")
    packing = Grid("U", 4)
    return parts.made("AWQ int4", (rows, cols), (1, group), ("codes", packing), ("scales", Grid()), ("zeros", packing))


def _awq_group(parts: Parts, cols: int) -> int:
    """The columns of a group, which the padded scales do not tell."""
    size = parts.declared.get("group_size", parts.declared.get("q_group_size"))
    group = cols if size == -1 else size
    if type(group) is not int or group <= 0 or cols % group:
        raise InputError(f"group_size: a divisor of {cols} is needed", file="config.json", tensor=parts.name, found=size)
    return group


def awq_fast(parts: Parts) -> PackedTensor:
    """AWQ, gemv_fast and llm-awq: four rows lie together, shuffled; what was a zero is a float, -scale * zero."""
    fours, cols = _matrix(parts, "codes")
    rows, group = LANES * fours, _awq_group(parts, cols)
    padded = _matrix(parts, "scales")
    if cols % RUN or padded[0] < cols // group or padded[1] != rows or _matrix(parts, "biases") != padded:
        raise parts.unfit("scales", f"{cols // group} rows or more of {rows}")
    codes = Grid("U", 4, order=fast_order(), lanes=LANES, word=16)
    return parts.made("AWQ int4", (rows, cols), (1, group), ("codes", codes), ("scales", Grid(turned=True)),
                      ("biases", Grid(turned=True)))


def modelopt(parts: Parts) -> PackedTensor:
    """ModelOpt's W4A16_AWQ and W4A8_AWQ: a byte holds the codes of two rows, the first in its low half."""
    half, cols = _matrix(parts, "codes")
    rows, groups = _matrix(parts, "scales")
    if rows != 2 * half or cols % groups:
        raise parts.unfit("scales", f"{2 * half} rows")
    return parts.made("ModelOpt int4", (rows, cols), (1, cols // groups), ("codes", Grid("I", 4, axis=0, word=8)),
                      ("scales", Grid()))


def gemma(parts: Parts) -> PackedTensor:
    """Gemma's own: codes of 2, 4 or 8 bits along the rows, the first in the lowest bits, a scale per row or group."""
    rows, width = _matrix(parts, "codes")
    bits = 8 if parts.codes.type == "I8" else parts.declared.get("num_bits", 4)
    if bits not in (2, 4, 8):
        raise InputError("num_bits: 2, 4 or 8 is needed", file="config.json", tensor=parts.name, found=bits)
    shape, shared = parts.shared("scales", (rows, width * 8 // bits))
    grid = Grid("I") if bits == 8 else Grid("U-", bits, word=8)
    return parts.made(f"Gemma int{bits}", (rows, width * 8 // bits), shared, ("codes", grid), ("scales", Grid(), shape))


def mlx(parts: Parts) -> PackedTensor:
    """MLX, affine: code * scale + bias; rows of words without gaps."""
    held = parts.shape("codes")
    if len(held) != 2:
        raise parts.unfit("codes", "a matrix, or a stack of matrices")
    settings = parts.module_settings()
    bits, group = settings.get("bits"), settings.get("group_size", 64)
    shape = parts.shape("scales")
    if type(bits) is not int or not 1 <= bits <= 8 or type(group) is not int or not 0 < group <= 1 << 16:
        raise InputError("quantization: bits and group_size are needed", file="config.json", tensor=parts.name,
                         expected="1 to 8, 1 to 65536", found=f"{printable(str(bits), 20)}, {printable(str(group), 20)}")
    cols = held[1] * WORD // bits
    if held[1] * WORD % bits or shape != (held[0], cols // group) or cols % group:
        raise parts.unfit("scales", f"groups of {group} for codes of {bits} bits, as config.json says")
    return parts.made(f"MLX int{bits}", (held[0], cols), (1, group), ("codes", Grid("U", bits)), ("scales", Grid()),
                      ("biases", Grid()))


def _matrix(parts: Parts, role: str) -> tuple[int, int]:
    shape = parts.shape(role)
    if len(shape) != 2 or not all(shape):
        raise parts.unfit(role, "a matrix")
    return shape[0], shape[1]

