"""Write tests/golden/forward/FAMILY.json: what llama.cpp's converter makes of every model of the zoo, as digests.

Usage: GGUFX_LLAMA_CPP=/path/to/llama.cpp python scripts/golden/forward.py LABEL [MODEL ...]
LABEL names the version of llama.cpp. With models named, only their entries are made anew, in the files of their families.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from zoo.build import build  # noqa: E402
from zoo.faults import repaired  # noqa: E402
from zoo.golden import FAMILY, GOLDEN, describe  # noqa: E402
from zoo.kinds import vocab  # noqa: E402
from zoo.models import MODELS  # noqa: E402
from zoo.peers import llama_cpp_convert, missing_converter, of_target, read_peer_gguf  # noqa: E402
from zoo.proof import beside  # noqa: E402


def entry(name: str, work: Path) -> dict | None:
    """The entry of one model, or None where llama.cpp makes no right file of it."""
    fault = MODELS[name].fault
    if fault.hopeless:
        return None
    folder = build(name, work / name)
    source = repaired(folder, fault, work / f"{name}-repaired")
    target = beside(name, lambda other: found if (found := work / other).exists() else build(other, found))
    out: dict = {"source": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), "file_type": {}}
    tensors: dict[str, dict] = {}
    for outtype in fault.outtypes:
        pre = vocab(MODELS[name].vocab).pre
        made = llama_cpp_convert(source, outtype, work / f"{name}-{outtype}.gguf", pre, (*fault.options, *of_target(**target)))
        values, rows = describe(read_peer_gguf(made))
        made.unlink()
        out["file_type"][outtype] = values.pop("general.file_type", None)
        if out.setdefault("values", values) != values:
            raise SystemExit(f"{name}: key-values depend on the output type")
        for tensor, (kind, shape, digest) in rows.items():
            tensors.setdefault(tensor, {"shape": shape})[outtype] = [kind, digest]
    out["tensors"] = {tensor: _joined(row, fault.outtypes) for tensor, row in tensors.items()}
    return out


def _joined(row: dict, outtypes: tuple[str, ...]) -> dict:
    """One field "all" for a tensor that is the same whatever the output type."""
    kinds = [row[outtype] for outtype in outtypes]
    return {"shape": row["shape"], "all": kinds[0]} if all(kind == kinds[0] for kind in kinds) else row


def _difference(new: dict, base: dict, name: str) -> dict:
    """`new` as what differs from the entry `base` called `name`, where only key-values do."""
    if "as" in new or (new["tensors"], new["file_type"]) != (base["tensors"], base["file_type"]):
        return new
    keys = new["values"].keys() | base["values"].keys()
    values = {key: new["values"].get(key) for key in sorted(keys) if new["values"].get(key) != base["values"].get(key)}
    return {"as": name, "source": new["source"], "values": values}


def _lines(document: dict) -> str:
    """JSON with one tensor or key-value per line, so that changes can be read."""
    models = []
    for name, item in document["models"].items():
        parts = []
        for field, value in item.items():
            if isinstance(value, dict):
                rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in value.items())
                parts.append(f"{json.dumps(field)}: {{\n{rows}}}")
            else:
                parts.append(f"{json.dumps(field)}: {json.dumps(value)}")
        models.append(f"{json.dumps(name)}: {{" + ",\n".join(parts) + "}")
    return f'{{"peer": {json.dumps(document["peer"])},\n"models": {{\n' + ",\n".join(models) + "\n}}\n"


def main() -> None:
    if len(sys.argv) < 2 or missing_converter():
        raise SystemExit(f"{__doc__}\n{missing_converter() or ''}")
    label, only = sys.argv[1], sys.argv[2:] or list(MODELS)
    if unknown := set(only) - set(MODELS):
        raise SystemExit(f"no such model: {', '.join(sorted(unknown))}")
    for family in dict.fromkeys(FAMILY[name] for name in only):
        path = GOLDEN / f"{family}.json"
        rows = [name for name, row in MODELS.items() if FAMILY[name] == family]
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"peer": label, "models": {}}
        if old["peer"] != label and (kept := set(rows) & set(old["models"]) - set(only)):
            raise SystemExit(f"{path.name} was made by {old['peer']}: make {', '.join(sorted(kept))} anew as well")
        made = _family(rows, only, old["models"])
        path.write_text(_lines({"peer": label, "models": made}), encoding="utf-8")


def _family(rows: list[str], only: list[str], old: dict[str, dict]) -> dict[str, dict]:
    """The entries of one family: those in `only` made anew, the others as they were."""
    made: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as work:
        for name in rows:
            if name in only:
                print(name, file=sys.stderr, flush=True)
            new = entry(name, Path(work)) if name in only else old.get(name)
            if new is None:
                continue
            base = name.removesuffix("-v4")
            made[name] = _difference(new, made[base], base) if base != name and base in made else new
    return made


if __name__ == "__main__":
    main()
