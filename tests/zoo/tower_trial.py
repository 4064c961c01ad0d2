"""One tower of the zoo against the live peers, with everything that differs spelt out: what scripts/try_mmproj prints."""

import json
from pathlib import Path

from ggufx.converters.planners.hf_to_gguf import GgufOptions
from ggufx.converters.planners.projector import ProjectorPlanner
from ggufx.converters.run.execute import execute

from . import peers
from .differences import gguf_differences, grouped
from .files import stored
from .golden import OUTTYPES
from .towers import Tower, build_tower

CHECKS = ("bytes", "own", "foreign", "loads")
Answer = tuple[bool, str, list[str]]
PAIRED = ("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


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
        theirs = peers.llama_cpp_convert(self.folder, "f32", self.work / "theirs.gguf", options=("--mmproj",))
        file = peers.read_peer_gguf(theirs)
        lines += [f"{k} = {v}" for k, v in peers.runtime_values(file.values).items()]
        return True, "", lines + grouped((n, "GGUF", f"{kind} {list(shape)}") for n, (kind, shape, _) in file.tensors.items())

    def bytes(self) -> Answer:
        if self.row.hopeless:
            made = make_projector(self.folder, self.work / "ours.gguf", "f32", plain=True)
            return True, "-", [f"llama.cpp's converter {self.row.fault}", f"{len(peers.read_peer_gguf(made).tensors)} tensors"]
        why: list[str] = []
        told: set[str] = set()
        count = 0
        for outtype in OUTTYPES:
            mine = make_projector(self.folder, self.work / f"{outtype}.gguf", outtype, plain=True)
            theirs = peers.llama_cpp_convert(self.folder, outtype, self.work / f"{outtype}.theirs", options=("--mmproj",))
            ours, other = peers.read_peer_gguf(mine), peers.read_peer_gguf(theirs)
            found = [row for row in gguf_differences(ours, other, self.row.drop) if row[0] not in told]
            if ours.values["general.type"] != other.values["general.type"]:
                found.append(("general.type", "key differs", str(ours.values["general.type"])))
            why += [f"{outtype}: {line}" for line in grouped(found)]
            told |= {row[0] for row in found}
            count = len(other.tensors)
        return not told, f"{count} tensors" if not told else f"{len(told)} differ", why
