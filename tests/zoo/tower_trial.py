"""One tower of the zoo against the live peers, with everything that differs spelt out: what scripts/try_mmproj prints."""

import json
from pathlib import Path

import numpy as np
from ggufx.converters import arch
from ggufx.converters.arch import projectors
from ggufx.converters.planners.gguf_to_hf import HfOptions
from ggufx.converters.planners.hf_to_gguf import GgufOptions
from ggufx.converters.planners.pair_to_hf import plan_model_to_hf
from ggufx.converters.planners.projector import ProjectorPlanner
from ggufx.converters.rules.match import rename
from ggufx.converters.rules.spec import Projector
from ggufx.converters.run.execute import execute

import ggufx

from . import peers
from .differences import gguf_differences, grouped, setting_differences, stored_differences
from .files import stored
from .golden import OUTTYPES
from .towers import Tower, build_tower

CHECKS = ("bytes", "own", "foreign", "features", "loads")
Answer = tuple[bool, str, list[str]]
TOWER_CONFIGS = ("vision_config", "audio_config", "sound_config")
SIZES = ("hidden_size", "d_model", "num_hidden_layers", "encoder_layers", "num_attention_heads", "encoder_attention_heads")


def make_projector(folder: Path, outfile: Path, outtype: str, plain: bool = False) -> Path:
    """The mmproj file of a checkpoint."""
    execute(ProjectorPlanner(folder, outfile, GgufOptions(plain=plain)).plan(outtype))
    return outfile


class Trial:
    def __init__(self, row: Tower, work: Path) -> None:
        self.row, self.work = row, work
        self.folder = build_tower(row, work / "model")

    def show(self) -> Answer:
        lines = grouped((n, "HF", f"{kind} {list(shape)}") for n, (kind, shape, _) in stored(self.folder).items())
        lines += [f"{k}: {v}" for k, v in json.loads((self.folder / "config.json").read_text()).items()]
        theirs = self._theirs("f32")
        file = peers.read_peer_gguf(theirs)
        lines += [f"{k} = {v}" for k, v in peers.runtime_values(file.values).items()]
        return True, "", lines + grouped((n, "GGUF", f"{kind} {list(shape)}") for n, (kind, shape, _) in file.tensors.items())

    def _theirs(self, outtype: str) -> Path:
        return peers.llama_cpp_convert(self.folder, outtype, self.work / f"{outtype}.theirs", options=("--mmproj",), built_in=self.row.built_in)

    def bytes(self) -> Answer:
        if self.row.hopeless:
            made = make_projector(self.folder, self.work / "ours.gguf", "f32", plain=True)
            return True, "-", [f"llama.cpp's converter {self.row.fault}", f"{len(peers.read_peer_gguf(made).tensors)} tensors"]
        why: list[str] = []
        told: set[str] = set()
        count = 0
        for outtype in OUTTYPES:
            mine = make_projector(self.folder, self.work / f"{outtype}.gguf", outtype, plain=True)
            theirs = self._theirs(outtype)
            ours, other = peers.read_peer_gguf(mine), peers.read_peer_gguf(theirs)
            found = [row for row in gguf_differences(ours, other, self.row.drop) if row[0] not in told]
            if ours.values["general.type"] != other.values["general.type"]:
                found.append(("general.type", "key differs", str(ours.values["general.type"])))
            why += [f"{outtype}: {line}" for line in grouped(found)]
            told |= {row[0] for row in found}
            count = len(other.tensors)
        return not told, f"{count} tensors" if not told else f"{len(told)} differ", why

    def _pair(self, plain: bool, outtype: str = "f16") -> tuple[Path, Path]:
        text, projector = self.work / f"text-{plain}.gguf", self.work / f"mmproj-{plain}-{outtype}.gguf"
        if not text.exists():
            ggufx.hf_to_gguf(self.folder, text, plain=plain)
        if not projector.exists():
            make_projector(self.folder, projector, outtype, plain)
        return text, projector

    def _held(self, but: tuple[str, ...] = ()) -> dict:
        """The tensors of the folder that the two files hold."""
        gone = (*self.row.lost, *but)
        return {n: v for n, v in stored(self.folder).items() if not (gone and n.startswith(gone))}

    def own(self) -> Answer:
        if self.row.alone:
            return True, "-", ["the folder has no language model"]
        back = self.work / "own"
        text, projector = self._pair(False)
        execute(plan_model_to_hf(text, back, HfOptions(mmproj=projector)))
        why = stored_differences(self._held(), stored(back))
        for name in sorted({str(p.relative_to(root)) for root in (self.folder, back) for p in root.rglob("*") if p.is_file()}):
            one, two = self.folder / name, back / name
            if name in ("model.safetensors", "README.md") or one.is_dir():
                continue
            if not one.exists() or not two.exists():
                why.append(f"{name} is {'extra' if two.exists() else 'missing'}")
            elif name.endswith(".json") and one.read_bytes() != two.read_bytes() and json.loads(one.read_bytes()) != json.loads(two.read_bytes()):
                why += [f"{name}: {line}" for line in setting_differences(json.loads(two.read_bytes()), json.loads(one.read_bytes()))]
        return not why, "bit for bit" if not why else "differs", why

    def foreign(self) -> Answer:
        if self.row.alone:
            return True, "-", ["the folder has no language model"]
        back = self.work / "foreign"
        text, projector = self._pair(True, "f32")
        plan = plan_model_to_hf(text, back, HfOptions("bf16", mmproj=projector))
        if any(f"{self.row.model.cls} would have the same files" in note or f"{self.row.model.cls}, " in note for note in plan.notes):
            plan = plan_model_to_hf(text, back, HfOptions("bf16", mmproj=projector, hf_class=self.row.model.cls))
        execute(plan)
        made, config = stored(back), json.loads((back / "config.json").read_text())
        why = [f"class {config['architectures']}"] if config["architectures"] != [self.row.model.cls] else []
        table = projectors.BY_CLASS[self.row.model.cls][0]
        renamed = {next((spelling for spelling in _spellings(n, table) if spelling in made), n): v
                   for n, v in self._held(self.row.cropped).items()
                   if not any(part in n for part in self.row.model.float32)}  # of one element type, as was asked
        made = {n: v for n, v in made.items() if not any(part in n for part in (*self.row.cropped, *self.row.model.float32))}
        renamed = {n: v for n, v in renamed.items() if all(t.match(s) is None for t in table.ignore for s in rename(n, table.aliases))}
        text = arch.BY_CLASS[self.row.model.cls][0]
        source = json.loads((self.folder / "config.json").read_text())
        told = json.loads((back / "preprocessor_config.json").read_text()) if (back / "preprocessor_config.json").exists() else {}
        why += [f"preprocessor_config.json: {k} = {v!r}, expected {self.row.processor[k]!r}" for k, v in told.items()
                if self.row.processor.get(k, v) != v and not (isinstance(v, list) and np.allclose(v, self.row.processor[k]))]
        for part in TOWER_CONFIGS:  # what the keys say is in its place
            held, read = source.get(part) or {}, config.get(part, {})
            why += [f"{part}.{k} = {read.get(k)!r}, expected {v!r}" for k, v in held.items() if read and (k in read or k in SIZES) and read.get(k) != v]
        why += stored_differences({_text_name(n, text, made): v for n, v in renamed.items()}, made)
        return not why, "bit for bit" if not why else "differs", [*why, *(f"note: {note}" for note in plan.notes)]

    def features(self) -> Answer:
        """What llama.cpp's mtmd makes of a picture or a sound; against transformers' where it can be told."""
        if reason := ("the folder has no language model" if self.row.alone else "") or self.row.runtime or peers.missing_runtime():
            return True, "-", [reason]
        text, projector = self._pair(True, "f32")
        made = peers.llama_features(text, projector, self.row.media)
        figure = "x".join(map(str, made.shape))
        if self.row.features is None:
            return bool(np.isfinite(made).all()), figure, ["loads; not compared"]
        expected = self.row.features(self.folder, self.row.media)
        if len(self.row.size) == 1:
            made = made[: len(expected)]  # the runtime hears a second, empty window behind one that is full
        if expected.shape != made.shape:
            return False, figure, [f"transformers makes {expected.shape}"]
        told = np.isfinite(expected)  # the rest may be anything
        off = float(np.abs(made - expected)[told].max() / expected[told].std())
        return off <= self.row.tolerance, f"{figure} off by {off:.1e}", []

    def loads(self) -> Answer:
        """Whether the folder of a pair of others is the same model in transformers: the same features, nothing missing or left
        over."""
        if self.row.features is None or self.row.cropped:
            return True, "-", []
        if not (self.work / "foreign").exists():
            self.foreign()
        found = transformers_warnings(lambda: self.row.features(self.work / "foreign", self.row.media))
        made, said = found
        why = [line for line in said if "MISSING" in line or "UNEXPECTED" in line or "not initialized" in line]
        if not np.array_equal(made, self.row.features(self.folder, self.row.media), equal_nan=True):
            why.append("other features")
        return not why, "the same features" if not why else "differs", why


def _spellings(name: str, table: Projector):
    """The table's names of a tensor, and what they are called where a pair of others comes back."""
    for known in rename(name, table.aliases):
        yield known
        yield from (own + known.removeprefix(start) for own, start in table.spelled if known.startswith(start))


def transformers_warnings(call):
    """The result, and what transformers said meanwhile."""
    from .trial import _warnings

    with _warnings() as said:
        return call(), said


def _text_name(name: str, spec, made) -> str:
    """The name under which the way back spells a tensor of the text part."""
    found, table = next((a for a in spec.aliases if a[1]), ("", "")) if spec.whole else ("", "")
    for spelling in rename(name, spec.aliases):
        back = found + spelling.removeprefix(table) if spelling.startswith(table) else spelling
        if back in made:
            return back
    return name
