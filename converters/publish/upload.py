"""The way to the Hub, through its own client: what is there already, the upload of each file, one commit at the end.

The client sends a file's bytes only where the server does not have them (their SHA-256 is asked for first; Xet asks for
chunks), so a push that was cut off goes on when it is called again. What the client does not retry, creating the
repository and the commit, is retried here: the commit names its parent, so that one whose answer was lost is not made twice.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from ..errors import GgufxError, InputError, NetworkError, UsageError
from ..io.files import printable
from ..notes import Note
from ..sources.hub import HubReference
from .card import merged
from .contents import CARD, Contents, Item, collect
from .refusals import TOKEN, explained

TRIES = 4
SMALL = 5 << 20  # bytes of a file that is sent along with others
LONGEST_WAIT = 301.0  # seconds; the Hub counts requests by five minutes
T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """The repository before a push: `head` is the commit of the branch (None: no such repository), `names` its files."""

    user: str
    head: str | None = None
    names: frozenset[str] = frozenset()
    branch: bool = True  # whether the branch is there


@dataclass(frozen=True)
class Pushed:
    """What was done. `files`: name, bytes, SHA-256 of each file of the push; `unchanged`: the repository had it all."""

    repo: str
    revision: str
    commit: str
    url: str
    files: tuple[tuple[str, int, str], ...]
    pull_request: str | None = None
    unchanged: bool = False
    notes: tuple[Note, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"repo": self.repo, "revision": self.revision, "commit": self.commit, "url": self.url,
                "pull_request": self.pull_request, "unchanged": self.unchanged,
                "files": [{"name": name, "size": size, "sha256": sha} for name, size, sha in self.files]}


def as_target(text: str) -> HubReference:
    """`ORG/REPO[@BRANCH]`. UsageError for anything else."""
    found = HubReference.parse(text)
    if found is None or found.file:
        raise UsageError("is no repository of the Hub", found=printable(text), expected="ORG/REPO or ORG/REPO@BRANCH")
    if found.revision and re.fullmatch(r"[0-9a-f]{40}", found.revision):
        raise UsageError(f"{found}: a commit cannot be pushed to", hint="Name a branch.")
    return found


def look(target: HubReference, private: bool = False) -> Seen:
    """What a push would find, with requests that change nothing: the token, the repository, the branch.

    NetworkError for a token that is missing, expired or may only read, and for what the Hub refuses; UsageError where
    `private` is wanted of a repository that is public.
    """
    from huggingface_hub import HfApi, errors

    def seen() -> Seen:
        api = HfApi()
        identity = api.whoami()
        if identity.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise NetworkError(f"{target}: the token may only read", hint=f"To push, {TOKEN}.")
        user = str(identity.get("name", ""))
        try:
            info = api.model_info(target.repo)
        except errors.GatedRepoError:
            raise
        except errors.RepositoryNotFoundError:
            return Seen(user, branch=target.revision is None)
        if private and info.private is False:
            raise UsageError(f"{target.repo}: exists, and is public", hint="Leave --private out, or name another repository.")
        try:
            info = api.model_info(target.repo, revision=target.revision) if target.revision else info
        except errors.RevisionNotFoundError:
            return Seen(user, info.sha, _names(info), branch=False)
        return Seen(user, info.sha, _names(info))

    return _told(seen, target)


class Ahead:
    """Files on their way while there is other work, before the push that commits them, in the order of `send`.

    `known`: SHA-256 of files. What goes wrong is not told: the push sends what has not arrived, and tells.
    """

    def __init__(self, target: HubReference, private: bool, create_pr: bool, known: Mapping[Path, str]) -> None:
        self.target, self.private, self.create_pr, self.known = target, private, create_pr, known
        self.arrived: dict[Path, Any] = {}
        self._waiting: SimpleQueue[Path | None] = SimpleQueue()
        self._stopped = False
        self._thread: Thread | None = None

    def send(self, path: Path) -> None:
        """A file that is complete, or a set, given a part of it."""
        self._waiting.put(path)
        if self._thread is None:
            self._thread = Thread(target=self._run, daemon=True)  # an interrupt waits for no upload
            self._thread.start()

    def stop(self) -> None:
        """Begin no other file."""
        self._stopped = True
        self._waiting.put(None)

    def close(self) -> None:
        """Begin no other file, and wait for the one that is on its way."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        from huggingface_hub import HfApi

        with suppress(Exception), _talkative(False):
            api: Any = HfApi()
            _make_repository(api, self.target, self.private)
            while (path := self._waiting.get()) is not None:
                for item in collect([path]).items:
                    if self._stopped:
                        return
                    made = _operation(item, self.known.get(item.path))
                    api.preupload_lfs_files(self.target.repo, [made], revision=self.target.revision, create_pr=self.create_pr,
                                            free_memory=False)
                    if made._is_uploaded and made._remote_oid != made._local_oid:  # else it is asked for anew: that may change
                        self.arrived[item.path] = made


def push(contents: Contents, target: HubReference, card: str | None, *, private: bool = False, create_pr: bool = False,
         message: str | None = None, force: bool = False, known: Mapping[Path, str] | None = None,
         progress: bool = False, ahead: Ahead | None = None) -> Pushed:
    """Send the files, then commit them and the card at once.

    `card`: the README.md that was made, for where `contents` has none. One that the repository has is renewed where an
    earlier push made it, else it stays, unless `force`, or one was named by its path. `known`: SHA-256 of files; `ahead`: what
    was sent already, to the same target.
    NetworkError for all that the Hub, or the way to it, refuses; StorageError for a file that cannot be read.
    """
    if ahead is not None:
        ahead.close()
    with _talkative(progress):
        return _told(_Push(contents, target, card, private, create_pr, message, force, dict(known or {}),
                           ahead.arrived if ahead else {}), target)


class _Push:
    """One push: what its attempts share."""

    def __init__(self, contents: Contents, target: HubReference, card: str | None, private: bool, create_pr: bool,
                 message: str | None, force: bool, known: dict[Path, str], arrived: dict[Path, Any]) -> None:
        from huggingface_hub import HfApi

        self.api: Any = HfApi()
        self.contents, self.target, self.card, self.private = contents, target, card, private
        self.create_pr, self.force, self.known, self.arrived = create_pr, force, known, arrived
        self.message = message or _message(contents.items)

    def __call__(self) -> Pushed:
        from huggingface_hub.errors import HfHubHTTPError

        _make_repository(self.api, self.target, self.private)
        for left in reversed(range(TRIES)):
            try:
                return self._attempt()
            except HfHubHTTPError as error:  # another commit came in between, or our own, whose answer was lost
                if error.response.status_code not in (409, 412) or not left:
                    raise
                self.arrived = {}
        raise AssertionError

    def _attempt(self) -> Pushed:
        repo, branch = self.target.repo, self.target.revision
        info = self.api.model_info(repo, revision=branch)
        notes: list[Note] = []
        items = [item for item in self.contents.items if item.name != CARD]
        operations = [self.arrived.get(item.path) or _operation(item, self.known.get(item.path)) for item in items]
        for group in _groups(operations):
            self.api.preupload_lfs_files(repo, group, revision=branch, create_pr=self.create_pr, free_memory=False)
            for item, done in zip(items, operations, strict=True):
                if done in group:
                    self.known[item.path] = done.upload_info.sha256.hex()
        if ignored := [done.path_in_repo for done in operations if done._should_ignore]:
            raise InputError(f"{self.target}: .gitignore of the repository leaves out what is pushed: {', '.join(ignored[:5])}")
        if (text := self._card(info, notes)) is not None:
            operations.append(_add(CARD, text))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            made = _patient(lambda: self.api.create_commit(
                repo, operations, commit_message=self.message, revision=branch, create_pr=self.create_pr,
                parent_commit=info.sha), once=self.create_pr)
        notes += [Note(printable(" ".join(str(warning.message).split()), 200)) for warning in told
                  if issubclass(warning.category, UserWarning)]
        files = [(done.path_in_repo, done.upload_info.size, done.upload_info.sha256.hex()) for done in operations]
        return Pushed(repo, branch or "main", made.oid, str(made.commit_url), tuple(files), made.pr_url,
                      made.oid == info.sha, tuple(notes))

    def _card(self, info: Any, notes: list[Note]) -> bytes | None:
        """README.md as it is to be; None where the repository's own stays."""
        given = next((item.path.read_bytes() for item in self.contents.items if item.name == CARD), None)
        new = given if given is not None else self.card.encode() if self.card else None
        if new is None or CARD not in _names(info) or self.force or CARD in self.contents.named:
            return new
        old = Path(self.api.hf_hub_download(self.target.repo, CARD, revision=info.sha)).read_bytes()
        text = merged(old.decode(errors="replace"), new.decode(errors="replace"), _names(info))
        if text is None and old != new:
            notes.append(Note("the repository's own README.md stays, which ggufx did not make; --force replaces it"))
        return None if text is None else text.encode()


def _make_repository(api: Any, target: HubReference, private: bool) -> None:
    """Repository and branch, where they are not there."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    repo, branch = target.repo, target.revision
    try:
        api.model_info(repo, revision=branch)
    except RepositoryNotFoundError:
        _patient(lambda: api.create_repo(repo, private=private or None, exist_ok=True))
        if branch and branch != "main":
            _patient(lambda: api.create_branch(repo, branch=branch, exist_ok=True))
    except RevisionNotFoundError:
        if str(branch).startswith("refs/"):
            raise
        _patient(lambda: api.create_branch(repo, branch=branch, exist_ok=True))


def _operation(item: Item, sha256: str | None) -> Any:
    made = _add(item.name, item.path)
    if made.upload_info.size != item.size:
        raise InputError("changed while it was pushed", file=item.path, expected=item.size, found=made.upload_info.size)
    if sha256 is not None:
        made.upload_info.sha256 = bytes.fromhex(sha256)
    return made


def _add(name: str, content: Path | bytes) -> Any:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)


def _groups(operations: Sequence[Any]) -> Iterator[list[Any]]:
    """Large files one by one, in order; the small ones at once, behind them."""
    yield from ([each] for each in operations if each.upload_info.size > SMALL)
    if small := [each for each in operations if each.upload_info.size <= SMALL]:
        yield small


def _message(items: Sequence[Item]) -> str:
    first = items[0].name
    return f"{first}{f' and {len(items) - 1} more' if len(items) > 1 else ''}, with ggufx"


def _names(info: Any) -> frozenset[str]:
    return frozenset(sibling.rfilename for sibling in info.siblings or ())


def _patient(call: Callable[[], T], once: bool = False) -> T:
    """A call that the client makes once: again after a refusal that passes; `once`: but not where it may have been done."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    for left in reversed(range(TRIES)):
        pause = 2.0 ** (TRIES - 1 - left)
        try:
            return call()
        except HfHubHTTPError as error:
            status = error.response.status_code
            if not left or status not in (429, 500, 502, 503, 504) or (once and status != 429):
                raise
            headers = error.response.headers
            said = re.search(r"\bt=(\d+)", headers.get("ratelimit", "")) or re.match(r"(\d+)$", headers.get("retry-after", ""))
            pause = min(float(said[1]) + 1, LONGEST_WAIT) if said else pause
        except httpx.TransportError:
            if not left or once:
                raise
        time.sleep(pause)
    raise AssertionError


@contextmanager
def _talkative(progress: bool) -> Iterator[None]:
    """With the client's bars and warnings, or without."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    if progress:
        yield
        return
    level, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            enable_progress_bars()


def _told(call: Callable[[], T], target: HubReference) -> T:
    """The call, with what the client raises as errors of ours."""
    try:
        return call()
    except GgufxError:
        raise
    except Exception as error:
        raise explained(error, target) from error
