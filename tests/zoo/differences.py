"""How two models differ, in few lines: names grouped over blocks, and what would turn one's values into the other's."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from .peers import Gguf, runtime_values

BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")
SHOWN = 100  # characters of a value
FLOATS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2"), "F64": np.dtype("<f8")}

Found = tuple[str, str, str]  # name, kind of difference, details


def gguf_differences(ours: Gguf, theirs: Gguf, ignore: Collection[str] = ()) -> list[Found]:
    """Every difference of tensors (names, types, shapes, bytes) and of runtime key-values; names in `ignore` are passed over."""
    return [found for found in (*_keys(runtime_values(ours.values), runtime_values(theirs.values)),
                                *_tensors(ours.tensors, theirs.tensors)) if found[0] not in ignore]


def grouped(found: Iterable[Found]) -> list[str]:
    """A line per name and kind, the blocks of a name together; details of the first."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, kind, details in found:
        groups.setdefault((BLOCK.sub("{}", name), kind), []).append((name, details))
    out = []
    for (_, kind), rows in groups.items():
        name, details = rows[0]
        more = f" (and {len(rows) - 1} like it, to {rows[-1][0]})" if len(rows) > 1 else ""
        out.append(f"{kind}: {name}{more}" + (f": {details}" if details else ""))
    return out


def stored_differences(source: dict[str, Any], back: dict[str, Any]) -> list[str]:
    """Differences of tensors as files hold them, those of all blocks in one line."""
    found = []
    for name in sorted(source.keys() | back.keys()):
        if name not in back or name not in source:
            found.append((name, "tensor missing" if name not in back else "tensor extra", ""))
        elif source[name] != back[name]:
            kinds = [f"{kind} {list(shape)}" for kind, shape, _ in (back[name], source[name])]
            found.append((name, "tensor differs", f"{kinds[0]}, expected {kinds[1]}" if kinds[0] != kinds[1] else "values"))
    return grouped(found)


def setting_differences(ours: dict[str, Any], theirs: dict[str, Any], at: str = "") -> list[str]:
    """Differences of two JSON objects by dotted path; "ours" is what was made, "theirs" what it should be."""
    out = []
    for key in sorted(ours.keys() | theirs.keys()):
        path = f"{at}{key}"
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, dict) and isinstance(other, dict):
            out += setting_differences(mine, other, f"{path}.")
        elif key not in ours:
            out.append(f"{path} is missing, {short(other)} expected")
        elif key not in theirs:
            out.append(f"{path} = {short(mine)}, nothing expected")
        elif mine != other:
            out.append(f"{path} = {short(mine)}, {short(other)} expected")
    return out


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.. ({len(text)} characters)"


def _keys(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Found]:
    out = []
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in ours:
            out.append((key, "key missing", f"theirs {_value(theirs[key])}"))
        elif key not in theirs:
            out.append((key, "key extra", f"ours {_value(ours[key])}"))
        elif ours[key] != theirs[key]:
            out.append((key, "key differs", _two_values(ours[key], theirs[key])))
    return out


def _value(entry: tuple[str, Any]) -> str:
    return f"{entry[0].lower()} {short(entry[1])}"


def _two_values(ours: tuple[str, Any], theirs: tuple[str, Any]) -> str:
    mine, other = ours[1], theirs[1]
    if ours[0] == theirs[0] and isinstance(mine, list) and isinstance(other, list):
        if len(mine) != len(other):
            return f"ours has {len(mine)} items, theirs {len(other)}: {short(mine)}, {short(other)}"
        places = [n for n, (a, b) in enumerate(zip(mine, other, strict=True)) if a != b]
        n = places[0] if places else 0
        return f"{len(places)} of {len(mine)} items, the first at [{n}]: ours {short(mine[n])}, theirs {short(other[n])}"
    return f"ours {_value(ours)}, theirs {_value(theirs)}"


def _tensors(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Found]:
    out = []
    for name in sorted((ours.keys() | theirs.keys()), key=_natural):
        if name not in ours:
            out.append((name, "tensor missing", f"theirs {_layout(theirs[name])}{_named(theirs[name], ours, 'ours')}"))
        elif name not in theirs:
            out.append((name, "tensor extra", f"ours {_layout(ours[name])}{_named(ours[name], theirs, 'theirs')}"))
        elif ours[name] != theirs[name]:
            mine, other = ours[name], theirs[name]
            kind = "shape differs" if mine[1] != other[1] else "type differs" if mine[0] != other[0] else "values differ"
            layouts = "" if kind == "values differ" else f"ours {_layout(mine)}, theirs {_layout(other)}; "
            out.append((name, kind, layouts + _relation(_floats(mine), _floats(other))))
    return out


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _layout(entry: tuple[str, tuple[int, ...], bytes]) -> str:
    return f"{entry[0]} {list(entry[1])}"


def _named(entry: tuple, others: dict[str, Any], side: str) -> str:
    """Which tensors on the other side have the same bytes."""
    same = [name for name, other in others.items() if other[2] == entry[2]]
    return f" = {side} {same[0]}" if same else ""


def _floats(entry: tuple[str, tuple[int, ...], bytes]) -> np.ndarray | None:
    kind, shape, data = entry
    if kind not in FLOATS:
        return None
    values = np.frombuffer(data, FLOATS[kind])
    if kind == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.astype(np.float64).reshape(shape)


def _relation(ours: np.ndarray | None, theirs: np.ndarray | None) -> str:
    """What would turn our values into theirs, where something simple would."""
    if ours is None or theirs is None:
        return "quantized bytes"
    if ours.shape != theirs.shape:
        if ours.size != theirs.size:
            return "another number of values"
        if ours.ndim == theirs.ndim == 2 and np.array_equal(ours.T, theirs):
            return "theirs is ours transposed"
        same = np.array_equal(ours.reshape(-1), theirs.reshape(-1))
        return "the same values in the same order" if same else _order(ours.reshape(-1), theirs.reshape(-1)) or "other values"
    if np.array_equal(ours, theirs):
        return "the same values"
    if order := _order(ours, theirs):
        return order
    with np.errstate(all="ignore"):
        for words, made in (("ours + 1", ours + 1), ("ours - 1", ours - 1), ("-ours", -ours), ("exp(ours)", np.exp(ours)),
                            ("-exp(ours)", -np.exp(ours)), ("1 / ours", 1 / ours), ("ours squared", ours**2)):
            if np.allclose(made, theirs, rtol=1e-3, atol=1e-4):
                return f"theirs is {words}"
        ratio = theirs / np.where(ours == 0, np.nan, ours)
    middle = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else float("nan")
    if middle and np.allclose(ours * middle, theirs, rtol=1e-3, atol=1e-6):
        return f"theirs is ours * {middle:.6g}"
    apart = np.abs(ours - theirs)
    return f"{int((apart > 0).sum())} of {apart.size} values, by up to {apart.max():.3g} (values to {np.abs(theirs).max():.3g})"


def _order(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Whether one axis is only in another order."""
    for axis in range(ours.ndim):
        size = ours.shape[axis]
        if size < 2:
            continue
        mine, other = (np.ascontiguousarray(np.moveaxis(values, axis, 0).reshape(size, -1)) for values in (ours, theirs))
        places: dict[bytes, list[int]] = {}
        for number, row in enumerate(mine):
            places.setdefault(row.tobytes(), []).append(number)
        order = [places[row.tobytes()].pop(0) if places.get(row.tobytes()) else -1 for row in other]
        if -1 not in order:
            shown = ", ".join(map(str, order[:20])) + (", .." if size > 20 else "")
            return f"axis {axis} in another order: theirs is ours[{shown}]"
    if np.array_equal(np.sort(ours, None), np.sort(theirs, None)):
        return "the same values in another order"
    return ""
