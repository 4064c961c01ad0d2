"""Windows' rules on this machine: what `system.windows` calls, in place of kernel32 and of the C library's part of `os`.

A file that is open can be neither renamed, replaced nor removed; without O_BINARY a file is text; there is no O_NOFOLLOW and
none of POSIX' positioned calls; a second handle on a locked file is refused the lock. The work itself is done by the calls of
this machine, by the names of `os`, so that the tests which let those fail fail these as well.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

from ggufx import system
from ggufx.system import windows

BINARY = 1 << 29  # no flag of this machine
BACK = {errno.EIO: 1117, errno.ENOSPC: 112, errno.EDQUOT: 1295, errno.EACCES: 5, errno.EROFS: 19, errno.ENOENT: 2,
        errno.EFBIG: 223, errno.EINVAL: 87, errno.EBADF: 6}  # fmt: skip
SHARING_VIOLATION, LOCK_VIOLATION, END_OF_FILE = 32, 33, 38


class Windows:
    """kernel32, as far as `system.windows` calls it, and the handles that are open. `code`: GetLastError."""

    def __init__(self) -> None:
        self.code = 0
        self.open, self.close, self.dup, self.dup2, self.unlink = os.open, os.close, os.dup, os.dup2, os.unlink
        self.paths: dict[int, tuple[int, int]] = {}  # descriptor -> device and inode
        self.calls: list[str] = []

    # ---------------------------------------------------------------------------------------------- the C library

    def crt_open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if "dir_fd" in more or os.path.isdir(path):
            return self.open(path, flags & ~BINARY, mode, **more)  # Python's own walks through folders
        assert flags & BINARY, f"{path} is opened as text"
        assert not flags & (os.O_NOFOLLOW | os.O_NONBLOCK | os.O_DIRECTORY), "Windows has no such flag"
        descriptor = self.open(path, flags & ~BINARY, mode)
        self._note(descriptor)
        return descriptor

    def crt_close(self, descriptor: int) -> None:
        self.paths.pop(descriptor, None)
        self.close(descriptor)

    def crt_dup(self, descriptor: int) -> int:
        made = self.dup(descriptor)
        self._note(made)
        return made

    def crt_dup2(self, one: int, two: int, inheritable: bool = True) -> int:
        self.dup2(one, two, inheritable)
        self._note(two)
        return two

    def crt_unlink(self, path: Any, **more: Any) -> None:
        if not more and self.is_open(path):
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used", str(path))
        self.unlink(path, **more)

    def _note(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.paths[descriptor] = status.st_dev, status.st_ino

    def is_open(self, path: Any) -> bool:
        try:
            status = os.stat(path)
        except OSError:
            return False
        self._forget_closed()
        return (status.st_dev, status.st_ino) in self.paths.values()

    def _forget_closed(self) -> None:
        """Descriptors that Python's file objects closed by themselves."""
        for descriptor, known in list(self.paths.items()):
            try:
                status = os.fstat(descriptor)
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != known:
                del self.paths[descriptor]

    # -------------------------------------------------------------------------------------------------- kernel32

    def _done(self, name: str, work: Any) -> int:
        self.calls.append(name)
        try:
            work()
        except OSError as error:
            self.code = BACK.get(error.errno, 31)
            return 0
        return 1

    def _move_bytes(self, name: str, handle: Any, address: Any, count: Any, moved: Any, place: Any) -> int:
        at = place._obj.offset | place._obj.offset_high << 32
        view = memoryview((ctypes.c_char * count.value).from_address(address.value)).cast("B")

        def work() -> None:
            moved._obj.value = os.preadv(handle.value, [view], at) if name == "ReadFile" else os.pwrite(handle.value, view, at)

        done = self._done(name, work)
        if done and name == "ReadFile" and not moved._obj.value:
            self.code = END_OF_FILE
            return 0
        return done

    def ReadFile(self, *arguments: Any) -> int:
        return self._move_bytes("ReadFile", *arguments)

    def WriteFile(self, *arguments: Any) -> int:
        return self._move_bytes("WriteFile", *arguments)

    def SetFileInformationByHandle(self, handle: Any, kind: int, data: Any, size: Any) -> int:
        assert (kind, size.value) == (5, 8)
        return self._done("SetFileInformationByHandle", lambda: os.posix_fallocate(handle.value, 0, data._obj.value))

    def LockFileEx(self, handle: Any, flags: Any, zero: Any, low: Any, high: Any, place: Any) -> int:
        assert flags.value in (1, 3), "at once, with others or alone"
        assert (zero.value, low.value, high.value) == (0, 1, 0)
        assert place._obj.offset_high << 32 > 1 << 60, "a lock of Windows keeps others from the bytes that it is on"
        self.calls.append("LockFileEx")
        try:
            fcntl.flock(handle.value, (fcntl.LOCK_EX if flags.value & 2 else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.code = LOCK_VIOLATION
            return 0
        return 1

    def MoveFileExW(self, old: str, new: str, flags: Any) -> int:
        assert flags.value == 9, "replace what is there, and write through"
        if self.is_open(old) or self.is_open(new):
            self.code = SHARING_VIOLATION
            return 0
        return self._done("MoveFileExW", lambda: os.replace(old, new))


def install(patch: Any) -> Windows:
    """Put the Windows body into `system`, on these rules. `patch`: pytest's MonkeyPatch, or what has its `setattr`."""
    rules = Windows()
    for name in system.__all__:
        patch.setattr(system, name, getattr(windows, name))
    patch.setattr(windows, "kernel32", rules)
    patch.setattr(windows, "handle_of", lambda descriptor: descriptor, raising=False)
    patch.setattr(windows, "last_error", lambda: rules.code, raising=False)
    patch.setattr(windows, "BINARY", BINARY)
    for name in ("open", "close", "dup", "dup2", "unlink"):
        patch.setattr(os, name, getattr(rules, f"crt_{name}"))
    return rules


def no_leak(rules: Windows, folder: Path) -> bool:
    """Whether nothing in a folder is open any more."""
    return not any(rules.is_open(path) for path in folder.rglob("*") if path.is_file())
