"""Models compared, and looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import as_stated, as_target, check_positive, checked, several

if TYPE_CHECKING:
    from ..converters.inspect.inspection import Inspection
    from ..converters.verify.verify import Report


@checked
def verify(
    a: str | Path,
    b: str | Path,
    *,
    base: str | Path | None = None,
    lora: str | Path | Sequence[str | Path] = (),
    max_rmse: float | None = None,
    ignore: Sequence[str] = (),
    strict: bool = False,
    tokenizer: bool = False,
    checksums: bool = True,
    pre: str | None = None,
    hf_class: str | None = None,
    llama_version: str | None = None,
    context_length: int | None = None,
    target: str | Path | None = None,
    mmproj: str | Path | None = None,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Compare any two of checkpoint, GGUF file, adapter: `.same`, `.worst()`, `.differences`, `.to_json()`.

    `base`: the base model, for an adapter folder beside a GGUF adapter; else the one that it names. `lora`: adapters that are
    merged into `a`, a checkpoint, before. `max_rmse`: relative RMSE
    allowed for quantized tensors, in place of each type's own bound. `ignore`: keys (wildcards) that do not count; `strict`:
    all others do. `pre`, `hf_class`, `llama_version`, `context_length`, `target`: as of `hf_to_gguf`. `mmproj`: the file of the
    vision and audio parts that belongs to the GGUF file. `progress`: called with (bytes done, in all, name of the tensor).
    """
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.sources.hub import resolve_model
    from ..converters.verify.references import resolve_both
    from ..converters.verify.verify import VerifyOptions, base_named, verify

    check_positive(threads=threads, max_memory=max_memory)
    one, two = resolve_both(a, b, adapters=base is not None, parts=mmproj is not None)
    base = base or base_named(one, two)
    options = VerifyOptions(
        base=None if base is None else resolve_model(base, what="config"), max_rmse=max_rmse, ignore=tuple(ignore),
        strict=strict, tokenizer=tokenizer, checksums=checksums, pre=pre, hf_class=hf_class, target=as_target(target),
        stated=as_stated(llama_version, context_length), adapters=resolve_adapters(several(lora)),
        projector=None if mmproj is None else resolve_model(mmproj, what="gguf"))
    return verify(one, two, options, threads=threads, max_memory=max_memory, progress=progress)


@checked
def inspect(path: str | Path) -> Inspection:
    """A GGUF file, an importance matrix, or a checkpoint's or adapter's folder, from headers only; of the Hub
    (`org/name[@revision]`, `org/repo:file.gguf`) nothing else is fetched.

    `.architecture`, `.parameters`, `.types`, `.context_length`, `.templates`, `.tensors`, `.metadata`; `.memory(context)`:
    bytes of weights and of the cache at so many tokens.
    """
    from ..converters.inspect.inspection import inspect
    from ..converters.sources.hub import resolve_model

    return inspect(resolve_model(path, what="any", headers=True))
