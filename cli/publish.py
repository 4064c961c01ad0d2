"""What commands have in common that make a model card or push to the Hub."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..converters.errors import GgufxError, UsageError
from ..converters.io.whole_files import check_writable, write_text
from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..converters.plan.plan import ConversionPlan
    from ..converters.publish.contents import Contents
    from ..converters.publish.upload import Ahead, Pushed, Seen
    from ..converters.run.execute import Result


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """What a converting command does with its result beside leaving it where it is.

    `push`: ORG/REPO[@BRANCH]; `card`: the file to which the model card goes. `base_model`: what was stated of the model;
    where nothing was, what is known of `made_of`, the paths of what was converted; `relation`: the Hub's word for the result.
    """

    push: str | None = None
    card: Path | None = None
    private: bool = False
    create_pr: bool = False
    base_model: tuple[str, ...] = ()
    made_of: tuple[Path, ...] = ()
    relation: str = "quantized"

    @property
    def wanted(self) -> bool:
        return self.push is not None or self.card is not None

    def check(self, force: bool) -> Seen | None:
        """Refuse ahead of the work what can be refused without a change on the Hub. What there is, where it is pushed."""
        from ..converters.publish.plan import as_reference
        from ..converters.publish.upload import as_target, look

        check_writable(self.card, force)
        for text in self.base_model:
            as_reference(text)
        if self.push is None:
            if self.private or self.create_pr:
                raise UsageError("--private and --create-pr are for a push", hint="Add --push ORG/REPO, or leave them out.")
            return None
        return look(as_target(self.push), self.private)

    def show(self, out: Output, plan: ConversionPlan) -> dict[str, Any]:
        """Of a dry run: what would be pushed where."""
        names = [file.path.name for file in plan.listed]
        if self.push is not None:
            out.line(f"{', '.join(names)} would be pushed to {self.push}, with a model card")
        return {"push": {"repo": self.push, "files": names}} if self.push is not None else {}

    def ahead(self, result: Result) -> Ahead | None:
        """For files that can go out before all of them are as they should be; None where nothing is pushed."""
        from ..converters.publish.upload import Ahead, as_target

        return None if self.push is None else Ahead(as_target(self.push), self.private, self.create_pr, _sums(result))

    def carry_out(self, out: Output, plan: ConversionPlan, result: Result, force: bool, seen: Seen | None,
                  ahead: Ahead | None) -> dict[str, Any]:
        """Write the card, push. What it adds to the document."""
        from ..converters.publish.contents import collect

        paths = [plan.folder] if plan.folder else [file.path for file in result.files]
        contents = collect(paths)
        try:
            return publish(out, contents, self.push, bases=self.base_model or _references(self.made_of),
                           relation=self.relation, card=self.card, private=self.private, create_pr=self.create_pr,
                           force=force, known=_sums(result), seen=seen, ahead=ahead)
        except GgufxError as error:
            error.hint = "\n  ".join(filter(None, (error.hint, _instead(self.push, paths))))
            raise


def _sums(result: Result) -> dict[Path, str]:
    return {file.path: file.sha256 for file in result.files if file.sha256}


def _instead(push: str | None, paths: Sequence[Path]) -> str | None:
    return push and f"The files are complete: `ggufx push {shlex.join(map(str, paths))} {push}` sends them."


def _references(made_of: Sequence[Path]) -> list[str]:
    """Those that are on the Hub, with the commit that was read."""
    from ..converters.sources.hub import cached_commit, cached_origin

    found = []
    for path in made_of:
        if (origin := cached_origin(path)) is not None and "/" in origin:
            commit = cached_commit(path)
            found.append(f"{origin}@{commit}" if commit else origin)
    return found


def publish(out: Output, contents: Contents, repo: str | None, *, bases: Sequence[str] = (), relation: str = "quantized",
            card: Path | None = None, private: bool = False, create_pr: bool = False, force: bool = False,
            message: str | None = None, known: Mapping[Path, str] | None = None,
            seen: Seen | None = None, ahead: Ahead | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Make the card, write it to `card`, push to `repo`; with `dry_run` only say so. What it adds to the document.

    `seen`: what is in the repository, where that was asked already; `known`: SHA-256 of files; `ahead`: what was sent already.
    """
    from ..converters.publish.plan import prepare
    from ..converters.publish.upload import look, push

    prepared = prepare(contents, repo, bases, relation)
    out.notes(prepared.notes)
    told: dict[str, Any] = {"notes": [note.to_json() for note in prepared.notes]}
    if card is not None:
        check_writable(card, force)
        if not dry_run:
            write_text(card, prepared.card)
            out.line(f"{card}: the model card")
        told["card"] = str(card)
    if prepared.target is None:
        return told
    seen = seen or look(prepared.target, private)
    if dry_run:
        _show(out, prepared, seen.head is not None)
        rows = [{"name": item.name, "path": str(item.path), "size": item.size} for item in contents.items]
        return {**told, "push": {"repo": repo, "exists": seen.head is not None, "files": rows}}
    pushed = push(contents, prepared.target, prepared.card, private=private, create_pr=create_pr, message=message, force=force,
                  known=known, progress=not (out.quiet or out.json_mode), ahead=ahead)
    out.notes(pushed.notes)
    _print(out, pushed)
    told["notes"] += [note.to_json() for note in pushed.notes]
    return {**told, "push": pushed.to_json()}


def _show(out: Output, prepared: Any, exists: bool) -> None:
    items = prepared.contents.items
    out.table(["file", "size", "from"], [(item.name, human_bytes(item.size), str(item.path)) for item in items])
    out.line()
    out.line(f"{human_bytes(sum(item.size for item in items))} would be pushed to {prepared.target}"
             f"{'' if exists else ', which would be made'}; nothing was sent")


def _print(out: Output, pushed: Pushed) -> None:
    size = human_bytes(sum(size for _, size, _ in pushed.files))
    if pushed.unchanged:
        out.line(f"{pushed.repo}: has it all already ({len(pushed.files)} files, {size})")
    else:
        out.line(f"{pushed.repo}: {len(pushed.files)} files, {size}, in one commit")
    if out.verbose:
        for name, _, sha256 in pushed.files:
            out.line(f"{sha256}  {name}")
    out.line(pushed.pull_request or pushed.url)
