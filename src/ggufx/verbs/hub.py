"""To the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import checked, several, texts

if TYPE_CHECKING:
    from ..converters.publish.upload import Pushed


@checked
def push(
    paths: str | Path | Sequence[str | Path],
    repo: str,
    *,
    base_model: str | Sequence[str] = (),
    relation: str = "quantized",
    private: bool = False,
    create_pr: bool = False,
    message: str | None = None,
    force: bool = False,
) -> Pushed:
    """GGUF files, or folders of them, a checkpoint or an adapter -> one commit of `repo` (`org/name[@branch]`) on the Hub.

    The repository is made where it is not there, `private` or not. `base_model`: Hub ids of what the files were made of, for
    the model card; `relation`: quantized, adapter, merge or finetune. `create_pr`: as a pull request. `message`: the commit's
    title. `force`: replace a README.md that ggufx did not make. What has arrived is not sent again by a later call.
    `.commit`, `.url`, `.files` (name, bytes, SHA-256).
    """
    from ..converters.publish.contents import collect
    from ..converters.publish.plan import prepare
    from ..converters.publish.upload import as_target, look
    from ..converters.publish.upload import push as pushed

    target = as_target(repo)
    prepared = prepare(collect([Path(path) for path in several(paths)]), repo, texts(base_model), relation)
    look(target, private)
    return pushed(prepared.contents, target, prepared.card, private=private, create_pr=create_pr, message=message, force=force)


@checked
def card(paths: str | Path | Sequence[str | Path], *, repo: str | None = None, base_model: str | Sequence[str] = (),
         relation: str = "quantized") -> str:
    """The model card (README.md) of GGUF files, from their headers; arguments as of `push`."""
    from ..converters.publish.contents import collect
    from ..converters.publish.plan import prepare

    return prepare(collect([Path(path) for path in several(paths)]), repo, texts(base_model), relation).card
