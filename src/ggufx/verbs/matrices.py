"""Importance matrices, and what a type costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import check_positive, checked, several

if TYPE_CHECKING:
    from ..converters.calibrate.imatrix import ImatrixResult
    from ..converters.measure.measure import Measured


@checked
def imatrix(
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    outfile: str | Path = "imatrix.gguf",
    *,
    context: int = 512,
    chunks: int | None = None,
    skip: int = 0,
    parse_special: bool = False,
    hf_class: str | None = None,
    force: bool = False,
    resume: bool = False,
    threads: int | None = None,
    max_memory: int = 4 << 30,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> ImatrixResult:
    """An importance matrix of a checkpoint (folder or Hub id), layer by layer, as llama-imatrix makes it. Needs transformers.

    data          UTF-8 texts, one after another
    context       tokens of a chunk; `chunks`: how many at most; `skip`: how many are left out at the begin
    parse_special control tokens in the texts are read as such
    hf_class      the class to take the model for, whatever config.json says
    max_memory    bytes of a layer in float32, and of what a chunk takes in it
    device        auto, cpu, cuda or cuda:N. Sums differ in their last digits from one processor to another
    progress      called with (tokens done, tokens in all, name of the layer); a token counts once in each layer
    """
    from ..converters.calibrate.imatrix import ImatrixOptions, make_imatrix
    from ..converters.calibrate.text import TextOptions
    from ..converters.planners.hf_to_gguf import GgufOptions
    from ..converters.sources.hub import resolve_model

    check_positive(context=context, chunks=chunks)
    options = ImatrixOptions(TextOptions(context, chunks, skip, parse_special), device=device, threads=threads,
                             max_memory=max_memory, force=force, resume=resume)
    texts = [Path(text) for text in several(data)]
    return make_imatrix(resolve_model(model), texts, Path(outfile), options, GgufOptions(hf_class=hf_class), progress)


@checked
def measure(
    base: str | Path,
    files: str | Path | Sequence[str | Path],
    data: str | Path | Sequence[str | Path],
    *,
    context: int = 512,
    chunks: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Measured]:
    """Perplexity of GGUF files and their divergence from `base`, in llama.cpp: of the base, then of each file. Needs xllamacpp.

    data          UTF-8 texts, one after another
    context       tokens of a chunk; `chunks`: how many at most
    progress      called with (tokens done, tokens in all, "")
    """
    from ..converters.measure.measure import measure as measured

    check_positive(context=context, chunks=chunks, threads=threads)
    texts = [Path(text) for text in several(data)]
    return measured(Path(base), [Path(file) for file in several(files)], texts, context, chunks, threads, progress)
