"""Windows' rules on this machine: what `system.windows` calls, in place of kernel32 and of the C library's part of `os`.

A file that is open can be neither renamed, replaced nor removed; one that is read-only can be neither replaced, removed nor
written; one that was opened without sharing can be opened by nobody else. Without O_BINARY a file is text; folders cannot be
opened; names end at 259 characters; there is no O_NOFOLLOW and none of POSIX' positioned calls. A file that is locked cannot be
locked again, by its own handle neither; a handle that only reads cannot be flushed; the C library makes files longer by writing
zeros. The work itself is done by the calls of this machine, by the names of `os`, so that the tests which let those fail fail
these as well. test_bodies.py holds the rules against Wine.
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
# Windows' numbers of what this machine or a test refuses. EACCES is that of a network drive: 5, the usual one, says much else.
BACK = {errno.EIO: 1117, errno.ENOSPC: 112, errno.EDQUOT: 1295, errno.EACCES: 65, errno.EROFS: 19, errno.ENOENT: 2,
        errno.EFBIG: 223, errno.EINVAL: 87, errno.EBADF: 6}  # fmt: skip
PATH_NOT_FOUND, ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION, END_OF_FILE = 3, 5, 32, 33, 38
MAX_PATH = 260
ALLOCATION, END = 5, 6  # FILE_INFO_BY_HANDLE_CLASS


class Asked(int):
    """A descriptor by which kernel32 does what `os` would do."""


class Windows:
    """kernel32, as far as `system.windows` calls it, and the handles that are open. `code`: GetLastError."""

    def __init__(self) -> None:
        self.code = 0
        self.open, self.close, self.dup, self.dup2, self.unlink = os.open, os.close, os.dup, os.dup2, os.unlink
        self.fsync, self.ftruncate = os.fsync, os.ftruncate
        self.paths: dict[int, tuple[int, int]] = {}  # descriptor -> device and inode
        self.alone: set[int] = set()  # descriptors that were opened without sharing
        self.locked: set[int] = set()
        self.calls: list[str] = []

    # ---------------------------------------------------------------------------------------------- the C library

    def crt_open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if "dir_fd" in more or (os.path.isdir(path) and not flags & BINARY):
            return self.open(path, flags, mode, **more)  # Python's own walks through folders
        assert flags & BINARY, f"{path} is opened as text"
        assert not flags & (os.O_NOFOLLOW | os.O_NONBLOCK | os.O_DIRECTORY), "Windows has no such flag"
        if code := self._refused(path, flags & (os.O_WRONLY | os.O_RDWR)):
            number = errno.ENOENT if code == PATH_NOT_FOUND else errno.EACCES
            if not (flags & os.O_EXCL and os.path.lexists(path)):
                raise OSError(number, os.strerror(number), str(path))
        descriptor = self.open(path, flags & ~BINARY, mode)
        self._note(descriptor)
        return descriptor

    def _refused(self, path: Any, writes: int) -> int:
        """Why a file cannot be opened: Windows' number, 0 where it can."""
        if too_long(path):
            return PATH_NOT_FOUND
        if os.path.isdir(path) or (writes and read_only(path)):
            return ACCESS_DENIED
        return SHARING_VIOLATION if self.is_open(path, self.alone) else 0

    def crt_close(self, descriptor: int) -> None:
        self._forget(descriptor)
        self.close(descriptor)

    def crt_fsync(self, descriptor: int) -> None:
        """_commit, which has one number for whatever FlushFileBuffers says."""
        if reads_only(descriptor):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.fsync(descriptor)

    def crt_ftruncate(self, descriptor: int, size: int) -> None:
        assert isinstance(descriptor, Asked) or size <= os.fstat(descriptor).st_size, "_chsize_s writes zeros up to there"
        self.ftruncate(descriptor, size)

    def crt_dup(self, descriptor: int) -> int:
        made = self.dup(descriptor)
        self._note(made)
        return made

    def crt_dup2(self, one: int, two: int, inheritable: bool = True) -> int:
        self.dup2(one, two, inheritable)
        self._note(two)
        return two

    def crt_unlink(self, path: Any, **more: Any) -> None:
        if not more and (self.is_open(path) or read_only(path)):
            code = SHARING_VIOLATION if self.is_open(path) else ACCESS_DENIED
            error = PermissionError(errno.EACCES, f"[WinError {code}]", str(path))
            error.winerror = code
            raise error
        self.unlink(path, **more)

    def _note(self, descriptor: int) -> None:
        self._forget(descriptor)
        status = os.fstat(descriptor)
        self.paths[descriptor] = status.st_dev, status.st_ino

    def _forget(self, descriptor: int) -> None:
        self.paths.pop(descriptor, None)
        self.alone.discard(descriptor)
        self.locked.discard(descriptor)

    def is_open(self, path: Any, among: set[int] | None = None) -> bool:
        """Whether a descriptor is on this file, one of these."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        self._forget_closed()
        known = list(self.paths.items())
        return any(its == (status.st_dev, status.st_ino) for d, its in known if among is None or d in among)

    def _forget_closed(self) -> None:
        """Descriptors that Python's file objects closed by themselves."""
        for descriptor, known in list(self.paths.items()):
            try:
                status = os.fstat(descriptor)
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != known:
                self._forget(descriptor)

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
        assert size.value == 8
        if kind == END:
            return self._done("SetFileInformationByHandle", lambda: os.ftruncate(Asked(handle.value), data._obj.value))
        assert kind == ALLOCATION
        return self._done("SetFileInformationByHandle", lambda: os.posix_fallocate(handle.value, 0, data._obj.value))

    def FlushFileBuffers(self, handle: Any) -> int:
        if reads_only(handle.value):
            self.code = ACCESS_DENIED
            return 0
        return self._done("FlushFileBuffers", lambda: os.fsync(Asked(handle.value)))

    def ReOpenFile(self, handle: Any, access: Any, share: Any, flags: Any) -> int:
        assert access.value == 0x40000000, "GENERIC_WRITE"
        return self.open(f"/proc/self/fd/{handle.value}", os.O_WRONLY)

    def CreateFileW(self, path: str, access: Any, share: Any, security: Any, how: Any, flags: Any, template: Any) -> int:
        assert (security, how.value, flags.value, template) == (None, 3, 0, None), "what is there, as it is"
        code = self._refused(path, access.value & 0x40000000)
        if not share.value and self.is_open(path):
            code = SHARING_VIOLATION
        if code:
            self.code = code
            return -1
        descriptor = self.open(path, os.O_RDWR if access.value & 0x40000000 else os.O_RDONLY)
        self._note(descriptor)
        if not share.value:
            self.alone.add(descriptor)
        return descriptor

    def CloseHandle(self, handle: Any) -> int:
        self.crt_close(handle.value)
        return 1

    def GetDiskFreeSpaceExW(self, folder: str, mine: Any, total: None, free: Any) -> int:
        room = os.statvfs(folder)
        mine._obj.value, free._obj.value = room.f_bavail * room.f_frsize, room.f_bfree * room.f_frsize
        return 1

    def LockFileEx(self, handle: Any, flags: Any, zero: Any, low: Any, high: Any, place: Any) -> int:
        assert flags.value in (1, 3), "at once, with others or alone"
        assert (zero.value, low.value, high.value) == (0, 1, 0)
        assert place._obj.offset_high << 32 > 1 << 60, "a lock of Windows keeps others from the bytes that it is on"
        self.calls.append("LockFileEx")
        if handle.value in self.locked:
            self.code = LOCK_VIOLATION
            return 0
        try:
            fcntl.flock(handle.value, (fcntl.LOCK_EX if flags.value & 2 else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.code = LOCK_VIOLATION
            return 0
        self.locked.add(handle.value)
        return 1

    def MoveFileExW(self, old: str, new: str, flags: Any) -> int:
        assert flags.value == 9, "replace what is there, and write through"
        if self.is_open(old):
            self.code = SHARING_VIOLATION
            return 0
        if self.is_open(new) or os.path.isdir(new) or read_only(new):
            self.code = ACCESS_DENIED
            return 0
        if too_long(old) or too_long(new):
            self.code = PATH_NOT_FOUND
            return 0
        return self._done("MoveFileExW", lambda: os.replace(old, new))


def too_long(path: Any) -> bool:
    """Whether a name is longer than Windows takes it where nobody has switched long ones on."""
    return len(os.path.abspath(path)) >= MAX_PATH


def read_only(path: Any) -> bool:
    """Whether a file has the attribute. Here: whether nobody may write it."""
    return os.path.isfile(path) and not os.stat(path).st_mode & 0o222


def reads_only(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def install(patch: Any) -> Windows:
    """Put the Windows body into `system`, on these rules. `patch`: pytest's MonkeyPatch, or what has its `setattr`."""
    rules = Windows()
    for name in system.__all__:
        patch.setattr(system, name, getattr(windows, name))
    patch.setattr(windows, "kernel32", rules)
    patch.setattr(windows, "handle_of", lambda descriptor: descriptor, raising=False)
    patch.setattr(windows, "last_error", lambda: rules.code, raising=False)
    patch.setattr(windows, "BINARY", BINARY)
    for name in ("open", "close", "dup", "dup2", "unlink", "fsync", "ftruncate"):
        patch.setattr(os, name, getattr(rules, f"crt_{name}"))
    return rules


def no_leak(rules: Windows, folder: Path) -> bool:
    """Whether nothing in a folder is open any more."""
    return not any(rules.is_open(path) for path in folder.rglob("*") if path.is_file())
