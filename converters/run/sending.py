"""Outputs that become objects (`s3://`, `gs://`, `az://`): written and checked here, sent whole, then removed here.

An object store takes no writes at places, and shows an object when all of it is there. So a plan is carried out on this
machine's disk (`io.objects.staged`), and its files are sent in the order in which they would get their names: the one that
completes a set comes last. What could not be sent stays, complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import system
from ..errors import GgufxError, NetworkError, StorageError, UsageError, raise_all
from ..io.objects import ObjectReference, client, explained, staging_root, url_of
from ..plan.plan import ConversionPlan, OutputFile

if TYPE_CHECKING:
    from .execute import Progress, Result


class Sending:
    """The way of a plan's outputs into a store. `urls`: of each output."""

    def __init__(self, plan: ConversionPlan, urls: dict[Path, str]) -> None:
        self.plan, self.urls = plan, urls
        reference = ObjectReference.parse(next(iter(urls.values())))
        assert reference is not None  # `staged` made the path of a URL
        self.where = reference

    @classmethod
    def of(cls, plan: ConversionPlan) -> Sending | None:
        """None for a plan whose outputs stay on this machine."""
        urls = {o.path: url for o in plan.outputs if (url := url_of(o.path)) is not None}
        return cls(plan, urls) if urls else None

    def check(self, force: bool, resume: bool = False) -> None:
        """Refuse ahead of the work: no client, no access, no such bucket, objects that are there already without `force`.

        With `resume` an object that an earlier call sent is none of these.
        """
        store = self._store()
        if self.where.scheme != "memory" and self._info(store, self.where.bucket) is None:
            raise StorageError(f"{self.where.scheme}://{self.where.bucket}: no such bucket", hint="Make it first.")
        if not force:
            raise_all(UsageError("exists already", file=self.urls[o.path], hint="Pass --force to replace it.")
                      for o in self.plan.outputs
                      if self._info(store, self._key(o)) is not None and not (resume and self._holds(store, o)))

    def room(self) -> tuple[Path, int | None]:
        """Where the outputs are written first, and how many bytes are free there, where that is told."""
        folder = self.plan.outputs[0].path.parent
        home = next(f for f in (folder, *folder.parents) if f.is_dir())
        free = system.free_space(home)
        return folder, free and free[1]

    def is_there(self) -> bool:
        """Whether all objects are: of their sizes, with all that the plan itself holds of them."""
        store = self._store()
        return all(self._holds(store, output) for output in self.plan.outputs)

    def send(self, result: Result, progress: Progress | None = None) -> Result:
        """Send what was made; the result with the URLs. What is sent is no longer here.

        NetworkError where the store refuses or loses: of that set nothing is then there, and all is still here.
        """
        made = {file.path for file in result.files}
        outputs = [o for o in self.plan.outputs if o.path in made]
        total, done = sum(o.size for o in outputs), 0
        store = self._store()
        for _, files in groupby(outputs, key=lambda o: o.set):
            done = self._send_set(store, list(files), done, total, progress)
        for output in outputs:
            with suppress(OSError):
                output.path.unlink()
            _remove_empty(output.path.parent)
        return replace(result, files=tuple(replace(f, url=self.urls[f.path]) for f in result.files))

    def _send_set(self, store: Any, outputs: Sequence[OutputFile], done: int, total: int, progress: Progress | None) -> int:
        """`done` bytes of `total` were sent before; how many are then."""
        sent: list[OutputFile] = []
        output = outputs[-1]
        try:
            if len(outputs) > 1 and self._info(store, self._key(output)) is not None:
                store.rm_file(self._key(output))  # the old set ends before the new one begins
            for output in outputs:
                key = self._key(output)
                store.put_file(str(output.path), key, callback=_callback(self.urls[output.path], done, total, progress))
                sent.append(output)
                store.invalidate_cache()
                if (info := self._info(store, key)) is None or info["size"] != output.size:
                    raise NetworkError(f"{self.urls[output.path]}: arrived otherwise than it was sent",
                                       expected=f"{output.size} bytes", found=info and f"{info['size']} bytes")
                done += output.size
        except BaseException as error:
            for earlier in sent:
                with suppress(Exception):  # what went wrong before is what is told
                    store.rm_file(self._key(earlier))
            kept = f"The files are complete, in {output.path.parent}: the same call with --resume checks and sends them."
            if not isinstance(error, Exception):
                error.add_note(kept)
                raise
            told = error if isinstance(error, GgufxError) else explained(error, self.urls[output.path], "written")
            told.hint = "\n  ".join(filter(None, (told.hint, kept)))
            raise told from error
        return done

    def _holds(self, store: Any, output: OutputFile) -> bool:
        """Whether an object has the output's size, and all that the plan itself holds of it."""
        key = self._key(output)
        try:
            info = self._info(store, key)
            return info is not None and info["size"] == output.size and all(
                bytes(store.cat_file(key, start=at, end=at + len(data))) == data
                for at, data in ((0, output.head), *output.pieces) if data)
        except GgufxError:
            raise
        except Exception as error:
            raise explained(error, self.urls[output.path]) from error

    def _store(self) -> Any:
        return client(self.where)

    def _key(self, output: OutputFile) -> str:
        return self.urls[output.path].partition("://")[2]

    def _info(self, store: Any, key: str) -> dict[str, Any] | None:
        """What the store says of an object or bucket; None where there is none."""
        try:
            found: dict[str, Any] = store.info(key)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise explained(error, f"{self.where.scheme}://{key}", "reached") from error
        return found if found["type"] == "file" or key == self.where.bucket else None


def _callback(url: str, done: int, total: int, progress: Progress | None) -> Any:
    from fsspec.callbacks import Callback

    def tell(size: int | None, value: int, **_: Any) -> None:
        if progress is not None:
            progress(min(done + value, total), total, url)

    return Callback(hooks={"tell": tell})


def _remove_empty(folder: Path) -> None:
    root = staging_root()
    with suppress(OSError):  # somebody else uses it
        while folder != root and folder.is_relative_to(root):
            folder.rmdir()
            folder = folder.parent
