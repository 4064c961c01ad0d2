"""Whether two checkpoints are the same model: any two of HF folder, GGUF file, LoRA adapter.

Both sides are brought under the same tensor names: two folders, or two GGUF files, have them already; a folder beside a
GGUF file is taken through its architecture's table as if it were converted to F32, tile by tile in memory. What the file
holds in another layout than the table's first, and values that the way to GGUF does not determine (a norm stored as
weight + 1), are compared a second time under the folder's names, through the table's way back.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import system
from .. import arch
from ..errors import GgufxError, UsageError
from ..io.files import open_regular
from ..io.gguf import read_gguf_model
from ..notes import Note, grouped
from ..planners.adapter_updates import Adapter
from ..planners.hf_to_gguf import GgufOptions
from ..planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
from ..planners.merge_gguf import MergePlanner
from ..planners.merged_model import beside_weights
from ..planners.own_keys import Source
from ..planners.projector import plan_checkpoint
from ..planners.quantization import Quantization
from ..planners.reading import with_merged
from ..rules.spec import ArchSpec
from ..sources.hf_folder import Checkpoint, base_of, listed
from ..sources.original.folder import open_model
from ..sources.packed.logical import logical
from ..sources.packed.mlx_adapter import open_adapter
from ..sources.stated import NOTHING, Stated
from ..sources.weight_files import is_original
from .pairs import Comparison, Progress, look_again
from .references import form_of, is_projector
from .settings import OWN, Difference, adapter_files, key_values, model_files, settle, tokenizers_differ
from .side import Side, joined_keys, of_checkpoint, of_gguf, of_plan
from .tensors import Pair, Verdict, summary
from .tokenizers import Probes, probe

ADAPTERS = ("adapter", "gguf adapter")
HASH_AT_ONCE = 1 << 20
VIRTUAL = Path("verify.gguf")  # the name of an output that is never written


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What is compared, and what counts.

    `base`: the base model's folder, for an adapter folder beside a GGUF adapter. `max_rmse`: relative RMSE allowed for
    quantized tensors, in place of each type's own bound. `ignore`: keys (wildcards) whose differences do not count;
    `strict`: all others do. `tokenizer`: encode probes with both (two tokenizer.json that differ are judged so in any
    case). `made`: B was made of A, so that A must not be the rounding of B. `pre`, `hf_class`, `stated`, `target`: as for
    hf-to-gguf.
    `vocabulary` False: a checkpoint's tokenizer is not read, and no key of it counts. `projector`: the file of the vision and
    audio parts that belongs to the GGUF file of a text model; with it the whole of a multimodal checkpoint is compared.
    `adapters`: what is merged into A, a checkpoint, before that.
    """

    base: Path | None = None
    max_rmse: float | None = None
    ignore: tuple[str, ...] = ()
    strict: bool = False
    tokenizer: bool = False
    checksums: bool = True
    made: bool = False
    pre: str | None = None
    hf_class: str | None = None
    stated: Stated = NOTHING
    target: Path | None = None
    vocabulary: bool = True
    projector: Path | None = None
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class CheckedFile:
    """A file of tensors that was compared; `sha256` in hex digits, None where checksums were not wanted."""

    path: Path
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Compared:
    """One side, as the report shows it. `types`: tensors and bytes of each stored type."""

    path: Path
    form: str
    files: tuple[CheckedFile, ...]
    types: dict[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "form": self.form,
                "files": [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in self.files],
                "types": {k: {"tensors": n, "bytes": size} for k, (n, size) in self.types.items()}}


@dataclass(repr=False)
class Report:
    """Everything found. `pairs` in the order of the files, `differences` of settings, those that count first."""

    a: Compared
    b: Compared
    pairs: list[Pair]
    differences: list[Difference]
    notes: list[str] = field(default_factory=list)
    probes: Probes | None = None
    seconds: float = 0.0

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{n} {verdict}" for verdict, n in self.verdicts.items())
        return f"<Report {self.a.path} and {self.b.path}: {'same' if self.same else 'different'}, {verdicts or 'no tensors'}>"

    @property
    def same(self) -> bool:
        """Within what the types allow."""
        settings = not any(d.counts for d in self.differences)
        return settings and all(p.verdict.same for p in self.pairs) and (self.probes is None or self.probes.same)

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many tensors have each verdict, best first."""
        found = Counter(p.verdict for p in self.pairs)
        return {v: found[v] for v in Verdict if found[v]}

    @property
    def summary(self) -> str:
        """What differs, as one line: "tensors equal, 2 settings differ"."""
        bad = [p for p in self.pairs if not p.verdict.same]
        parts = [f"{len(bad)} of {_counted(len(self.pairs), 'tensor')} differ" if bad
                 else "no tensors" if not self.pairs
                 else "tensors within what their types allow" if any(p.verdict is Verdict.CLOSE for p in self.pairs)
                 else "tensors equal"]
        counting = sum(d.counts for d in self.differences)
        if counting:
            parts.append(f"{_counted(counting, 'setting')} differ{'s' * (counting == 1)}")
        if without := len(self.differences) - counting:
            parts.append(f"{_counted(without, 'setting')} differ{'s' * (without == 1)} without effect")
        if self.probes is not None and not self.probes.same:
            parts.append(f"{len(self.probes.different)} of {_counted(self.probes.texts, 'text')} give other token ids")
        return ", ".join(parts)

    def worst(self) -> list[Pair]:
        """The pairs, worst first: what differs, then by relative RMSE."""
        order = list(Verdict)
        return sorted(self.pairs, key=lambda p: (p.verdict.same, -(p.figures.relative if p.figures else 0.0),
                                                 -order.index(p.verdict)))

    def to_json(self) -> dict[str, Any]:
        return {"same": self.same, "summary": self.summary, "a": self.a.to_json(), "b": self.b.to_json(),
                "verdicts": {str(v): n for v, n in self.verdicts.items()},
                "tensors": [summary(p) for p in self.pairs], "differences": [d.to_json() for d in self.differences],
                "tokenizer": None if self.probes is None else self.probes.to_json(),
                "notes": [note.to_json() for note in grouped(self.notes)], "seconds": round(self.seconds, 3)}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def verify(a: Path, b: Path, options: VerifyOptions | None = None, *, threads: int | None = None,
           max_memory: int = 1 << 30, progress: Progress | None = None) -> Report:
    """Compare two checkpoints; tensor data in flight stays within `max_memory` bytes.

    Raises `UsageError` for two things that cannot be compared, `InputError` and `UnsupportedError` as the conversions do
    for what cannot be read or mapped; whatever merely differs is in the report.
    """
    options = _with_class(a, b, options or VerifyOptions())
    begun = time.monotonic()
    threads = threads or system.cpu_count()
    with ExitStack() as stack:
        one, two, differences = _sides(a, b, options)
        sums = stack.enter_context(_Checksums((one, two), options.checksums))
        one.open(stack)
        two.open(stack)
        compare = Comparison(threads, max_memory, progress, options.max_rmse, options.made)
        compare(pairs := _paired(one, two), one, two)
        notes: list[str] = [Note.of(note).about(str(s.path)) for s in (one, two) for note in s.notes]
        pairs = look_again(pairs, one, two, compare, stack, notes, options.hf_class, options.projector, options.adapters,
                           options.stated)
        one.check()
        two.check()
        if any(key.startswith(OWN) for s in (one, two) for key in s.metadata):
            notes.append("key-values named ggufx.* are not compared: they hold what the other side says itself")
        probes = None
        if options.tokenizer or tokenizers_differ(differences):
            probes = probe(a, b)
        ignore = options.ignore if options.vocabulary else (*options.ignore, "tokenizer.*")
        report = Report(_compared(one, sums), _compared(two, sums), pairs, settle(differences, ignore, options.strict), notes,
                        probes)
    report.seconds = time.monotonic() - begun
    return report


# ----------------------------------------------------------------------------------------------- what is compared


def _with_class(a: Path, b: Path, options: VerifyOptions) -> VerifyOptions:
    """The class that a checkpoint is taken for: as asked, else as it was when one of the two was made of the other."""
    forms = {form_of(path): path for path in (a, b)}
    if options.hf_class is not None or forms.keys() != {"checkpoint", "gguf"}:
        return options
    own = Source.of(read_gguf_model(forms["gguf"]).metadata, forms["gguf"])
    return replace(options, hf_class=own.hf_class) if own and own.hf_class else options


def base_named(a: Path, b: Path) -> str | None:
    """The base model that an adapter folder names, where the other is a GGUF adapter; see `base_of`."""
    forms = (form_of(a), form_of(b))
    return base_of(a if forms[0] == "adapter" else b) if {*forms} == {"adapter", "gguf"} else None


def _sides(a: Path, b: Path, options: VerifyOptions) -> tuple[Side, Side, list[Difference]]:
    """Both under the same names, and how their settings differ."""
    forms = (form_of(a), form_of(b))
    if not any(_stated(path, options) != NOTHING for path in (a, b)):
        options.stated.refuse("neither is a model in its maker's own layout")
    if options.projector is not None and {*forms} != {"checkpoint", "gguf"}:
        raise UsageError("a projector belongs to a GGUF file that is compared with a checkpoint", file=options.projector)
    if forms == ("checkpoint", "checkpoint"):
        one_folder, other = (open_model(path, options.hf_class, _stated(path, options)) for path in (a, b))
        if {n: t.type for n, t in one_folder.tensors.items()} != {n: t.type for n, t in other.tensors.items()}:
            one_folder, other = logical(one_folder), logical(other)  # one may be stored in another form
        if options.adapters:
            one_folder = with_merged(a, options.adapters, options.hf_class)
        return _folders(one_folder, other, options)
    if forms == ("adapter", "adapter"):
        one, two = (of_checkpoint(open_adapter(p), "adapter") for p in (a, b))
        return one, two, adapter_files(one.config, two.config)
    if options.adapters and forms[0] not in ("checkpoint", "gguf"):
        raise UsageError("adapters are merged into a model", file=a, hint="Give the base model first.")
    seen = [is_projector(path) for path in (a, b)]
    if forms == ("gguf", "gguf") and sum(seen) == 1:
        towers, text = (a, b) if seen[0] else (b, a)
        raise UsageError(f"{towers} is a multimodal projector, {text} is not: they hold different things",
                         hint="Compare it with its checkpoint, or that with the text model and --mmproj.")
    one = _in_gguf_names(a, forms[0], options, any(seen))
    two = _in_gguf_names(b, forms[1], replace(options, adapters=()), any(seen))
    if (one.form in ADAPTERS) != (two.form in ADAPTERS):
        adapter, model = (one, two) if one.form in ADAPTERS else (two, one)
        raise UsageError(f"{adapter.path} is an adapter, {model.path} is a model: they hold different things")
    planned = not {"checkpoint", "adapter"}.isdisjoint(forms)
    return one, two, key_values(one.metadata, two.metadata, planned=planned)


def _stated(path: Path, options: VerifyOptions) -> Stated:
    """What is stated of a folder: of one in its maker's own layout alone."""
    return options.stated if path.is_dir() and is_original(listed(path)) else NOTHING


def _in_gguf_names(path: Path, form: str, options: VerifyOptions, projector: bool = False) -> Side:
    """`projector`: the other side is the vision and audio parts alone."""
    if form == "gguf":
        if options.adapters:
            return of_plan(path, form, MergePlanner(path, options.adapters, VIRTUAL, Quantization()).compared())
        model = read_gguf_model(path)
        if options.projector is not None:
            if not is_projector(options.projector):
                raise UsageError("is no projector (mmproj)", file=options.projector,
                                 hint="The text model is one of the two that are compared, its projector --mmproj.")
            seen = read_gguf_model(options.projector)
            model = replace(model, tensors={**seen.tensors, **model.tensors},
                            metadata=joined_keys(model.metadata, seen.metadata))
        return of_gguf(model)
    if form == "checkpoint":
        plan, _ = plan_checkpoint(path, VIRTUAL, GgufOptions(
            pre=options.pre, hf_class=options.hf_class, stated=_stated(path, options), target=options.target,
            tokenizer=options.vocabulary, plain=True, mmproj=options.projector is not None, mmproj_only=projector,
            mmproj_type="f32", adapters=options.adapters), ["f32"])
        return of_plan(path, form, plan)
    if options.base is None:
        raise UsageError("an adapter folder beside a GGUF adapter needs its base model", file=path,
                         hint="Give --base with the base model's folder or Hub id; its config.json is enough.")
    return of_plan(path, form, plan_lora_to_gguf(options.base, path, VIRTUAL, LoraOptions(
        "f32", hf_class=options.hf_class)))


def _folders(a: Checkpoint, b: Checkpoint, options: VerifyOptions) -> tuple[Side, Side, list[Difference]]:
    """Two checkpoints by their own names; where these differ, by those that both would have in GGUF, if they can.

    That is another layout (experts apart or stacked), or the text part of a model beside the whole.
    """
    specs = [_spec(c) for c in (a, b)]
    with beside_weights(a.folder, a, options.adapters) as texts:
        differences = model_files(texts, b.folder, specs, (a.made, b.made))
    if a.tensors.keys() != b.tensors.keys() and None not in specs:
        try:
            one = _in_gguf_names(a.folder, "checkpoint", options)
            two = _in_gguf_names(b.folder, "checkpoint", replace(options, adapters=()))
        except GgufxError:
            pass  # what is wrong shows in the names that only one of them has
        else:
            one.notes = (*one.notes, "names other tensors than the other folder: compared as both would be in GGUF")
            uncounted = [replace(d, counts=False) for d in differences]
            return one, two, key_values(one.metadata, two.metadata, planned=True) + uncounted
    return of_checkpoint(a), of_checkpoint(b), differences


def _spec(checkpoint: Checkpoint) -> ArchSpec | None:
    try:
        return arch.for_config(checkpoint.config, "")
    except GgufxError:
        return None


def _paired(a: Side, b: Side) -> list[Pair]:
    """Tensors of the same name, in the order of B's file, then those that only A has.

    A GGUF file without output.weight has the runtime take the embedding in its place.
    """
    pairs = [Pair(name, a.tensors.get(name), b.tensors.get(name)) for name in dict.fromkeys((*b.tensors, *a.tensors))]
    head = next((p for p in pairs if p.name == "output.weight" and (p.a is None or p.b is None)), None)
    if head is not None and a.names == "gguf":
        head.a = head.a or a.tensors.get("token_embd.weight")
        head.b = head.b or b.tensors.get("token_embd.weight")
        head.detail = "the embedding, on the side that has no head"
    return pairs


# ------------------------------------------------------------------------------------------------ what is reported


class _Checksums:
    """SHA-256 of the files of both sides, taken on a thread of its own while they are compared."""

    def __init__(self, sides: Sequence[Side], wanted: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "ggufx-sha256")
        self._stop = False
        files = dict.fromkeys(i.path for s in sides for i in s.inputs) if wanted else {}
        self._sums: dict[Path, Future[str]] = {path: self._pool.submit(self._sha256, path) for path in files}

    def __enter__(self) -> _Checksums:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._pool.shutdown(cancel_futures=True)

    def of(self, path: Path) -> str | None:
        return self._sums[path].result() if path in self._sums else None

    def _sha256(self, path: Path) -> str:
        digest = hashlib.sha256()
        with open_regular(path) as (file, _):
            while not self._stop and (part := file.read(HASH_AT_ONCE)):
                digest.update(part)
        return digest.hexdigest()


def _compared(side: Side, sums: _Checksums) -> Compared:
    types: dict[str, tuple[int, int]] = {}
    for tensor in side.tensors.values():
        count, size = types.get(tensor.type, (0, 0))
        types[tensor.type] = (count + 1, size + tensor.nbytes)
    files = tuple(CheckedFile(i.path, i.size, sums.of(i.path)) for i in side.inputs)
    return Compared(side.path, side.form, files, types)
