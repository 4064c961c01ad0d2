"""Windows' rules on this machine: what `system.windows` calls, in place of kernel32 and of the C library's part of `os`.

A file that is open can be neither renamed, replaced nor removed; one that is read-only can be neither replaced, removed nor
written; one that was opened without sharing can be opened by nobody else. Without O_BINARY a file is text; folders cannot be
opened; names end at 259 characters, where a test says so; there is no O_NOFOLLOW and none of POSIX' positioned calls. A file
that is locked cannot be locked again, by its own handle neither; a handle that only reads cannot be flushed; the C library
makes files longer by writing zeros. The work itself is done by the calls of this machine, by the names of `os`, so that the
tests which let those fail fail these as well. test_windows_rules.py holds the rules against Wine.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from typing import Any

from ggufx import system
from ggufx.system import windows

BINARY = 1 << 29  # no flag of this machine
# Windows' numbers of what this machine or a test refuses. EACCES is that of a network drive: 5, the usual one, says much else.
BACK = {errno.EIO: 1117, errno.ENOSPC: 112, errno.EDQUOT: 1295, errno.EACCES: 65, errno.EROFS: 19, errno.ENOENT: 2,
        errno.EFBIG: 223, errno.EINVAL: 87, errno.EBADF: 6}  # fmt: skip
NOT_FOUND, PATH_NOT_FOUND, ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION, END_OF_FILE = 2, 3, 5, 32, 33, 38
ALLOCATION, END = 5, 6  # FILE_INFO_BY_HANDLE_CLASS


class Asked(int):
    """A descriptor by which kernel32 does what `os` would do."""


class Windows:
    """kernel32, as far as `system.windows` calls it, and the handles that are open. `code`: GetLastError."""

    NAMES = ("open", "close", "dup", "dup2", "unlink", "fsync", "ftruncate")

    def __init__(self) -> None:
        self.code = 0
        self.open, self.close, self.dup, self.dup2, self.unlink = os.open, os.close, os.dup, os.dup2, os.unlink
        self.fsync, self.ftruncate = os.fsync, os.ftruncate
        self.longest: int | None = None  # how many characters a path may have: 259 where LongPathsEnabled is not set
        self.paths: dict[int, tuple[int, int]] = {}  # descriptor -> device and inode
        self.alone: set[int] = set()  # descriptors that were opened without sharing
        self.locked: set[int] = set()

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

    def too_long(self, path: Any) -> bool:
        return self.longest is not None and len(os.path.abspath(path)) > self.longest

    def _refused(self, path: Any, writes: int) -> int:
        """Why a file cannot be opened: Windows' number, 0 where it can."""
        if self.too_long(path):
            return PATH_NOT_FOUND
        if os.path.isdir(path) or (writes and read_only(path)):
            return ACCESS_DENIED
        return SHARING_VIOLATION if self.is_open(path, self.alone) else 0

    def crt_close(self, descriptor: int) -> None:
        self._forget(descriptor)
        self.close(descriptor)

    def crt_fsync(self, descriptor: int) -> None:
        """_commit, which has one number for whatever FlushFileBuffers says."""
        if lacks(descriptor, os.O_WRONLY):
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

    def handle_of(self, descriptor: int) -> int:
        return descriptor

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

    def _fails(self, code: int) -> int:
        self.code = code
        return 0

    def _done(self, work: Any) -> int:
        try:
            work()
        except OSError as error:
            return self._fails(BACK.get(error.errno, 31))
        return 1

    def _move_bytes(self, name: str, handle: Any, address: Any, count: Any, moved: Any, place: Any) -> int:
        if lacks(handle.value, os.O_RDONLY if name == "ReadFile" else os.O_WRONLY):
            return self._fails(ACCESS_DENIED)
        at = place._obj.offset | place._obj.offset_high << 32
        view = memoryview((ctypes.c_char * count.value).from_address(address.value)).cast("B")

        def work() -> None:
            moved._obj.value = os.preadv(handle.value, [view], at) if name == "ReadFile" else os.pwrite(handle.value, view, at)

        done = self._done(work)
        return self._fails(END_OF_FILE) if done and name == "ReadFile" and not moved._obj.value else done

    def ReadFile(self, *arguments: Any) -> int:
        return self._move_bytes("ReadFile", *arguments)

    def WriteFile(self, *arguments: Any) -> int:
        return self._move_bytes("WriteFile", *arguments)

    def SetFileInformationByHandle(self, handle: Any, kind: int, data: Any, size: Any) -> int:
        assert size.value == 8
        if lacks(handle.value, os.O_WRONLY):
            return self._fails(ACCESS_DENIED)
        if kind == END:
            return self._done(lambda: os.ftruncate(Asked(handle.value), data._obj.value))
        assert kind == ALLOCATION
        return self._done(lambda: os.posix_fallocate(handle.value, 0, data._obj.value))

    def FlushFileBuffers(self, handle: Any) -> int:
        if lacks(handle.value, os.O_WRONLY):
            return self._fails(ACCESS_DENIED)
        return self._done(lambda: os.fsync(Asked(handle.value)))

    def ReOpenFile(self, handle: Any, access: Any, share: Any, flags: Any) -> int:
        assert access.value == 0x40000000, "GENERIC_WRITE"
        return self.open(f"/proc/self/fd/{handle.value}", os.O_WRONLY)

    def CreateFileW(self, path: str, access: Any, share: Any, security: Any, how: Any, flags: Any, template: Any) -> int:
        assert (security, how.value, flags.value, template) == (None, 3, 0, None), "what is there, as it is"
        code = self._refused(path, access.value & 0x40000000)
        if not share.value and self.is_open(path):
            code = SHARING_VIOLATION
        if not os.path.exists(path):
            code = not_there(path)
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
        assert folder.endswith(os.sep), "of a share it must"
        room = os.statvfs(folder)
        mine._obj.value, free._obj.value = room.f_bavail * room.f_frsize, room.f_bfree * room.f_frsize
        return 1

    def LockFileEx(self, handle: Any, flags: Any, zero: Any, low: Any, high: Any, place: Any) -> int:
        assert flags.value in (1, 3), "at once, with others or alone"
        assert (zero.value, low.value, high.value) == (0, 1, 0)
        assert place._obj.offset_high << 32 > 1 << 60, "a lock of Windows keeps others from the bytes that it is on"
        if handle.value in self.locked:
            return self._fails(LOCK_VIOLATION)
        try:
            fcntl.flock(handle.value, (fcntl.LOCK_EX if flags.value & 2 else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._fails(LOCK_VIOLATION)
        self.locked.add(handle.value)
        return 1

    def MoveFileExW(self, old: str, new: str, flags: Any) -> int:
        assert flags.value == 9, "replace what is there, and write through"
        if self.too_long(old) or self.too_long(new) or not os.path.isdir(os.path.dirname(new)):
            return self._fails(PATH_NOT_FOUND)
        if self.is_open(old):
            return self._fails(SHARING_VIOLATION)
        if self.is_open(new) or os.path.isdir(new) or read_only(new):
            return self._fails(ACCESS_DENIED)
        return self._done(lambda: os.replace(old, new))


def read_only(path: Any) -> bool:
    """Whether a file has the attribute. Here: whether nobody may write it."""
    return os.path.isfile(path) and not os.stat(path).st_mode & 0o222


def not_there(path: Any) -> int:
    return NOT_FOUND if os.path.isdir(os.path.dirname(path)) else PATH_NOT_FOUND


def lacks(descriptor: int, right: int) -> bool:
    """Whether a descriptor was opened without the right to read (O_RDONLY) or to write (O_WRONLY)."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE not in (right, os.O_RDWR)


def install(patch: Any, rules: Any = None) -> Any:
    """Put the Windows body into `system`, on these rules or on others. `patch`: pytest's MonkeyPatch."""
    rules = Windows() if rules is None else rules
    for name in system.__all__:
        patch.setattr(system, name, getattr(windows, name))
    patch.setattr(windows, "kernel32", rules)
    patch.setattr(windows, "handle_of", rules.handle_of, raising=False)
    patch.setattr(windows, "last_error", lambda: rules.code, raising=False)
    patch.setattr(windows, "BINARY", BINARY)
    for name in rules.NAMES:
        patch.setattr(os, name, getattr(rules, f"crt_{name}"))
    return rules
