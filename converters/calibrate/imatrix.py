"""An importance matrix of a checkpoint: layer by layer, in the memory of one layer and one chunk's activations."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StorageError, UsageError
from ..io.imatrix_file import ImatrixFile, write_imatrix
from ..io.objects import url_of
from ..io.texts import read_texts
from ..metadata.naming import default_file_name, output_path
from ..planners.hf_to_gguf import GgufOptions, GgufPlanner
from ..verify.runtime import Runtime
from .families import family_of, text_class
from .states import SHARED
from .statistics import unreached
from .text import TextOptions, chunks_of, encode

if TYPE_CHECKING:
    from .calls import Call
    from .observe import LatentObserver, Seen
    from .skeleton import Skeleton
    from .states import States

Progress = Callable[[int, int, str], None]  # (done, total, what): tokens through layers


@dataclass(frozen=True)
class ImatrixOptions:
    """`device`: cpu, cuda, cuda:N; auto: cuda where there is one. `threads`: None: all. `max_memory`: bytes of one layer in
    float32 and of what a chunk takes in it."""

    text: TextOptions = field(default_factory=TextOptions)
    device: str = "auto"
    threads: int | None = None
    max_memory: int = 4 << 30
    force: bool = False
    resume: bool = False


@dataclass(frozen=True)
class ImatrixResult:
    """`unreached`: (weight, experts that no token was routed to)."""

    path: Path
    chunks: int
    tokens: int
    entries: int
    seconds: float
    notes: tuple[str, ...]
    unreached: tuple[tuple[str, tuple[int, ...]], ...]


def make_imatrix(folder: Path, data: Sequence[Path], outfile: Path, options: ImatrixOptions | None = None,
                 reading: GgufOptions | None = None, progress: Progress | None = None) -> ImatrixResult:
    """Calibrate the checkpoint in `folder` on the texts, and write the matrix.

    Raises UnsupportedError for a class that is not carried, UsageError for too little text, or too little --max-memory.
    """
    if not data:
        raise UsageError("no text to calibrate on", hint="Name one with --data.")
    return _make(GgufPlanner(folder, None, reading or GgufOptions()), data, outfile, options or ImatrixOptions(), progress)


def with_matrix(folder: Path, outfile: str | Path | None, made: GgufOptions, calibrate: Sequence[Path], options: ImatrixOptions,
                dry_run: bool = False, progress: Progress | None = None) -> tuple[GgufOptions, ImatrixResult]:
    """The options of a conversion with a matrix that is made for it, beside what it writes. Raises as `make_imatrix`."""
    if made.quantization.imatrix_file is not None:
        raise UsageError("a matrix is given, and one is to be made", hint="Leave out --imatrix or --calibrate.")
    if dry_run:
        raise UsageError("a dry run makes no matrix", hint="Make one with `ggufx imatrix`, and pass it to --imatrix.")
    if made.mmproj_only:
        raise UsageError("a projector is not calibrated", hint="Leave out --calibrate.")
    if outfile is not None and (url := url_of(Path(outfile))):
        raise UsageError("a matrix is made beside the files, and these become objects", file=url,
                         hint="Make one with `ggufx imatrix`, and pass it to --imatrix.")
    planner = GgufPlanner(folder, None, made)
    result = _make(planner, calibrate, matrix_path(outfile, planner), options, progress)
    return replace(made, quantization=replace(made.quantization, imatrix_file=result.path)), result


def matrix_path(outfile: str | Path | None, planner: GgufPlanner) -> Path:
    """Where a conversion to `outfile` has its matrix: called as its files are, with `imatrix` for the type."""
    path = output_path(outfile, "imatrix", default_file_name(planner.general, "imatrix"))
    named = outfile is None or path != Path(outfile)
    return path if named else path.with_name(f"{path.stem}-imatrix.gguf")


def _make(planner: GgufPlanner, data: Sequence[Path], outfile: Path, options: ImatrixOptions,
          progress: Progress | None) -> ImatrixResult:
    if outfile.exists() and not options.force:
        raise UsageError("exists already", file=outfile, hint="Pass --force to replace it.")
    if not outfile.parent.is_dir():
        raise StorageError("no such folder", file=outfile.parent, hint="Make it first, or write to another folder.")
    began = time.monotonic()
    family_of(text_class(planner.reading))
    text = read_texts(data)
    runtime = Runtime({**planner.keys, **planner.tokens}, planner.spec.name)
    ids = encode(planner.reading.checkpoint.folder, planner.tokens, planner.spec.name, text, options.text.special)
    chunks = chunks_of(ids, runtime, options.text)
    entries = _run(planner, chunks, outfile, options, progress or (lambda done, total, what: None))
    most = max(int(entry.counts.max()) for entry in entries.values())  # llama-imatrix counts chunks so
    made = ImatrixFile(entries, tuple(path.name for path in data), most // options.text.context, options.text.context)
    write_imatrix(outfile, made)
    return ImatrixResult(outfile, len(chunks), chunks.size, len(entries), time.monotonic() - began,
                         tuple(map(str, planner.reading.notes)), unreached(made))


def _run(planner: GgufPlanner, chunks: np.ndarray, outfile: Path, options: ImatrixOptions, progress: Progress) -> Any:
    import torch

    from .entries import entries_of
    from .observe import check_finite
    from .skeleton import Skeleton, placed
    from .states import States

    reading = planner.reading
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    with ExitStack() as stack, torch.inference_mode():
        skeleton = Skeleton(reading, stack, placed(options.device))
        tokens = chunks.shape[1]
        for needed, what, smaller in (
                (skeleton.layer_bytes() + skeleton.activation_bytes(tokens), "a layer and what a chunk takes in it are",
                 "a smaller --ctx"),
                (skeleton.embedding_bytes(chunks), "the embeddings of the texts' tokens are", "fewer --chunks")):
            if needed > options.max_memory:
                raise UsageError(f"{what} larger than --max-memory", expected=f"at least {needed} bytes",
                                 found=options.max_memory, hint=f"Pass --max-memory {-(-needed // 10**6)}MB, or {smaller}.")
        states = States(outfile, _key(planner, chunks), len(chunks), options.resume)

        def keep(chunk: int, hidden: torch.Tensor, given: Sequence[Sequence[torch.Tensor]]) -> None:
            if states.begun:
                return
            if chunk == 0:
                states.reserve(2 * hidden.nbytes + sum(x.nbytes for xs in given for x in xs))
            states.keep("hidden-0", chunk, [hidden.cpu().numpy()])
            for number, xs in enumerate(given):
                if xs:
                    states.keep(f"given-{number}", chunk, [x.cpu().numpy() for x in xs])

        try:
            calls = skeleton.begin(chunks, keep)
        except BaseException:
            if not states.begun:  # nothing to go on from
                states.remove()
            raise
        total = skeleton.layers * chunks.size
        if not states.begun:
            states.complete(-1, {})
        for number in range(states.done, skeleton.layers):
            def done(chunk: int, before: int = number * len(chunks), what: str = f"layer {number}") -> None:
                progress((before + chunk) * tokens, total, what)

            seen, latent = _watched(skeleton, number, calls[number], states, len(chunks), done)
            check_finite(seen, number, reading.checkpoint.folder)
            entries = entries_of(reading, skeleton, number, seen, latent)
            states.complete(number, entries)
        found = states.entries()
        states.remove()
    return found


def _watched(skeleton: Skeleton, number: int, call: Call, states: States, chunks: int,
             done: Callable[[int], None]) -> tuple[dict[str, Seen], LatentObserver | None]:
    """Run a layer over all chunks, from the states in front of it to those behind it: what its weights were multiplied by. When
    this returns, nothing holds the weights."""
    import torch

    from .observe import LatentObserver, Observer, not_finite

    def read(name: str, chunk: int) -> list[torch.Tensor]:
        return [torch.from_numpy(x).to(skeleton.device) for x in states.kept(name, chunk)]

    with skeleton.layer(number) as layer:
        observer = Observer(dict(layer.named_parameters()))
        latent = LatentObserver.of(layer, skeleton.family.latent) if skeleton.family.latent else None
        shared = call.shared if call.shared is not None else {}
        files = states.shared(number)
        for chunk in range(chunks):
            hidden, *handed = read(f"hidden-{number}", chunk)
            args, kwargs = call.of(read(f"given-{number}", chunk) if call.given else [])
            if handed:
                kwargs[skeleton.family.handed] = handed[0]
            before = {name: tuple(read(file, chunk)) for name, file in files.items()}
            shared.clear()
            shared.update(before)
            with observer:
                out = layer(hidden, *args, **kwargs)
            outs = out if isinstance(out, tuple) else (out,)
            if not torch.isfinite(outs[0].sum(dtype=torch.float64)):
                raise not_finite("computes numbers that are not finite", skeleton.folder, f"layer {number}")
            kept = outs[: 2 if skeleton.family.handed else 1]
            states.keep(f"hidden-{number + 1}", chunk, [x.cpu().numpy() for x in kept if x is not None])
            for name, tensors in shared.items():
                if tensors is not before.get(name):
                    states.keep(f"{SHARED}{number}-{name}", chunk, [x.cpu().numpy() for x in tensors])
            done(chunk + 1)
        if latent is not None:
            latent.close()
    return observer.seen, latent


def _key(planner: GgufPlanner, chunks: np.ndarray) -> dict[str, Any]:
    """What a stopped run must have been of, to go on."""
    inputs = [[str(i.path), i.size, i.mtime_ns] for i in planner.inputs]
    return {"tokens": hashlib.sha256(chunks.tobytes()).hexdigest(), "shape": list(chunks.shape), "inputs": inputs,
            "class": planner.reading.hf_class}
