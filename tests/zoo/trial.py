"""One model of the zoo against the live peers, with everything that differs spelt out: what scripts/try_arch prints.

For a table that is being written: no golden digest is needed. The questions are those of `proof`, and the one that comes
first: are the bytes those of llama.cpp's converter?
"""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufx.converters.errors import GgufxError

import ggufx

from . import peers, proof
from .build import build
from .differences import gguf_differences, grouped, setting_differences, short, stored_differences
from .faults import repaired
from .files import stored
from .kinds import vocab
from .models import MODELS
from .proof import Answer, Loop

ROOT = Path(__file__).parents[2]


def show(name: str, work: Path) -> list[str]:
    """What a table has to describe, before there is one: the checkpoint, and the file that llama.cpp's converter makes of it."""
    folder, row = build(name, work), MODELS[name]
    config = (folder / "config.json").read_text(encoding="utf-8")
    lines = [*config.splitlines(), *grouped((n, "HF", f"{kind} {list(shape)}") for n, (kind, shape, _) in stored(folder).items())]
    fault = row.fault
    source = repaired(folder, fault, work.with_name(f"{work.name}-repaired"))
    try:
        target = proof.beside(name, lambda other: build(other, work.with_name(other)))
        made = peers.llama_cpp_convert(source, "f32", work.with_suffix(".gguf"), vocab(row.vocab).pre,
                                       (*fault.options, *peers.of_target(**target)))
    except peers.PeerError as error:
        return [*lines, *f"llama.cpp: {error}".splitlines()]
    file = peers.read_peer_gguf(made)
    lines += [f"{key} = {kind.lower()} {short(value)}" for key, (kind, value) in peers.runtime_values(file.values).items()]
    return lines + grouped((n, "GGUF", f"{kind} {list(shape)}") for n, (kind, shape, _) in file.tensors.items())


def forward_bytes(loop: Loop) -> Answer:
    """Each output type against llama.cpp's converter, known faults avoided. A later type tells only what the first did not."""
    fault = loop.row.fault
    if fault.hopeless:
        return Answer(True, "-", (f"llama.cpp's converter {fault.converter}",))
    if reason := peers.missing_converter():
        return Answer(True, "-", (reason,))
    source = repaired(loop.folder, fault, loop.work / "repaired")
    why = [f"note: {note}" for note in ggufx.hf_to_gguf(loop.folder, loop.work / "plan.gguf", dry_run=True, **loop.target).notes]
    told: set[str] = set()
    count = (0, 0)
    for outtype in fault.outtypes:
        made = loop.work / f"bytes-{outtype}.gguf"
        ggufx.hf_to_gguf(loop.folder, made, outtype=outtype, plain=True, **loop.target)
        theirs = peers.llama_cpp_convert(source, outtype, made.with_suffix(".theirs"), vocab(loop.row.vocab).pre,
                                         (*fault.options, *peers.of_target(**loop.target)))
        mine, other = peers.read_peer_gguf(made), peers.read_peer_gguf(theirs)
        found = [row for row in gguf_differences(mine, other, fault.keys) if row[0] not in told]
        why += [f"{outtype}: {line}" for line in grouped(found)]
        told |= {row[0] for row in found}
        count = (len(other.tensors), len(peers.runtime_values(other.values)))
    return Answer(not told, f"{count[0]} tensors, {count[1]} keys" if not told else f"{len(told)} differ", tuple(why))


def own_file_back(loop: Loop) -> Answer:
    """As `proof.bits`, with what differs in config.json and in each tensor."""
    answer = proof.bits(loop)
    if answer.ok:
        return answer
    why = []
    if "config.json differs" in answer.why:
        why += _settings(loop.own_back, loop.folder)
    if loop.name not in proof.TEXT_PART:
        why += stored_differences(stored(loop.folder), stored(loop.own_back))
    return Answer(False, answer.figure, tuple(dict.fromkeys((*answer.why, *why))))


def foreign_file_back(loop: Loop) -> Answer:
    """As `proof.foreign`; transformers must load it without a warning. If not, its config.json beside the model's own."""
    with _warnings() as said:
        answer = proof.foreign(loop)
    said = [line for line in said if not any(words in line for words in proof.OTHER_WARNINGS)]
    ok = answer.ok and (not said or loop.row.embeds or loop.row.extra is not None)  # embedders may lack a pooler; extras are unknown
    lines = [f"transformers: {line}" for line in said] + ([] if ok else _settings(loop.foreign_back, loop.folder))
    return Answer(ok, answer.figure, (*answer.why, *lines), answer.size)


def _settings(made: Path, source: Path) -> list[str]:
    one, two = (json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (made, source))
    return [f"config.json: {line}" for line in setting_differences(one, two)]


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What transformers says while it loads."""
    said: list[str] = []
    import transformers  # its logger has its handlers from here on

    transformers.utils.logging.set_verbosity_warning()
    logger, listener = logging.getLogger("transformers"), logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.extend(line for line in record.getMessage().splitlines() if line.strip())
    handlers, logger.handlers = logger.handlers, [listener]
    try:
        yield said
    finally:
        logger.handlers = handlers


CHECKS: dict[str, Callable[[Loop], Answer]] = {
    "bytes": forward_bytes, "own": own_file_back, "foreign": foreign_file_back, "logits": proof.logits, "tokens": proof.tokens,
    "lora": proof.lora}
RUNTIME = ("logits", "tokens", "lora")


def ask(check: str, loop: Loop) -> Answer:
    """The answer, whatever goes wrong: an error of ggufx or of a peer in its own words, anything else with where it was."""
    if check in RUNTIME and (reason := peers.missing_runtime()):
        return Answer(True, "-", (reason,))
    try:
        return CHECKS[check](loop)
    except (GgufxError, peers.PeerError) as error:
        return Answer(False, "failed", tuple(f"{type(error).__name__}: {error}".splitlines()))
    except Exception as error:
        return Answer(False, "failed", tuple(describe(error)))


def describe(error: BaseException) -> list[str]:
    """The error, and the last places in this repository (else anywhere) that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename]
    places = [f"at {Path(f.filename).name}:{f.lineno} {f.name}: {f.line}" for f in (*ours[-3:], *frames[-1:])]
    return [*f"{type(error).__name__}: {error}".splitlines()[:12], *dict.fromkeys(places)]
