"""The system calls of Windows: the promises of `posix`, by other means.

Positions are part of a read or write here too (OVERLAPPED). A file that is open can be neither renamed nor removed, so it is
closed before; its descriptor keeps its number meanwhile. Every file is opened without translation of line ends. Names in
folders need no sync: they are moved with MOVEFILE_WRITE_THROUGH.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

CUDA_DRIVER = "nvcuda.dll"

# What is asked of the system itself; elsewhere the tests put a stand-in here.
kernel32: Any = None
handle_of: Callable[[int], int]
last_error: Callable[[], int]
if os.name == "nt":
    import msvcrt

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    handle_of, last_error = msvcrt.get_osfhandle, ctypes.get_last_error  # type: ignore[attr-defined]

BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_END_OF_FILE = 38
_LOCKED = (33, 997)  # ERROR_LOCK_VIOLATION, ERROR_IO_PENDING
_NO_SUCH_CALL = (1, 50, 87, 120)  # of a file system that cannot do it: invalid function or parameter, not supported, not there
_REFUSED = 5  # ERROR_ACCESS_DENIED
_LOCK_NOW, _ALONE = 1, 2  # LOCKFILE_FAIL_IMMEDIATELY, LOCKFILE_EXCLUSIVE_LOCK
_LOCK_AT = 1 << 62  # a lock keeps others from reading the range: far behind every file's end
_ALLOCATION, _END = 5, 6  # FileAllocationInfo, FileEndOfFileInfo
_READ, _WRITE, _DELETE = 0x80000000, 0x40000000, 0x10000  # GENERIC_READ, GENERIC_WRITE, DELETE
_SHARED = 1 | 2  # FILE_SHARE_READ | FILE_SHARE_WRITE, as the C library opens
_AS_IT_IS = 3  # OPEN_EXISTING
_NONE = -1  # INVALID_HANDLE_VALUE
_MAX_PATH = 260  # characters with the NUL, where long paths are not enabled
_MOVE = 1 | 8  # MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH
_NUMBERS = {
    2: errno.ENOENT, 3: errno.ENOENT, 5: errno.EACCES, 6: errno.EBADF, 8: errno.ENOMEM, 19: errno.EROFS, 23: errno.EIO,
    29: errno.EIO, 30: errno.EIO, 32: errno.EACCES, 33: errno.EACCES, 39: errno.ENOSPC, 65: errno.EACCES, 80: errno.EEXIST,
    87: errno.EINVAL, 112: errno.ENOSPC, 123: errno.EINVAL, 183: errno.EEXIST, 206: errno.ENAMETOOLONG, 223: errno.EFBIG,
    1117: errno.EIO, 1224: errno.EACCES, 1295: errno.EDQUOT, 1392: errno.EIO, 1450: errno.ENOMEM,
}  # fmt: skip
_IN_USE = (32, 33, 1224)  # ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_USER_MAPPED_FILE
_OPEN_ELSEWHERE, _READ_ONLY = "another program has the file open", "the file is read-only"


class Overlapped(ctypes.Structure):
    """Where a read, write or lock begins; DWORDs are 32 bits on every Windows."""

    _fields_ = (("internal", ctypes.c_void_p), ("internal_high", ctypes.c_void_p), ("offset", ctypes.c_uint32),
                ("offset_high", ctypes.c_uint32), ("event", ctypes.c_void_p))


def _error(name: Path | str | None = None, code: int | None = None) -> OSError:
    """What a call refused, the last one if it is not said, with the number that the rest of Python knows it by."""
    code = last_error() if code is None else code
    number = _NUMBERS.get(code, errno.EIO)
    text = _OPEN_ELSEWHERE if code in _IN_USE else f"{os.strerror(number)} (Windows error {code})"
    return _told(number, text, name, code in _IN_USE)


def _told(number: int, text: str, name: Path | str | None, in_use: bool = False) -> OSError:
    error = OSError(number, text, *((str(name),) if name else ()))
    error.in_use = in_use  # type: ignore[attr-defined]
    return error


def _at(offset: int) -> Overlapped:
    return Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)


def _handle(descriptor: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(handle_of(descriptor))


def _open(path: Path | str, flags: int, mode: int = 0o777) -> int:
    try:
        return os.open(path, flags | BINARY, mode)
    except PermissionError:
        if os.path.isdir(path):
            raise _told(errno.EISDIR, os.strerror(errno.EISDIR), path) from None
        # The C library has one number for all that Windows refuses: asked once more, for Windows' own.
        with suppress(FileNotFoundError):  # it was to be made
            _close(_opened(path, _READ | _WRITE if flags & (os.O_WRONLY | os.O_RDWR) else _READ, _SHARED))
        raise


def _opened(path: Path | str, access: int, share: int) -> int:
    """A handle of a file that is there. OSError with Windows' reason."""
    handle = kernel32.CreateFileW(str(path), ctypes.c_uint32(access), ctypes.c_uint32(share), None, ctypes.c_uint32(_AS_IT_IS),
                                  ctypes.c_uint32(0), None)
    if handle == _NONE:
        raise _error(path)
    return int(handle)


def _close(handle: int) -> None:
    kernel32.CloseHandle(ctypes.c_void_p(handle))


def opener(name: str, flags: int) -> int:
    return _open(name, flags)


def open_own(path: Path, flags: int) -> int:
    if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    try:
        return _open(path, flags, 0o666)
    except FileNotFoundError:
        length = len(os.path.abspath(path))
        if length < _MAX_PATH or not flags & os.O_CREAT or not path.parent.is_dir():
            raise
        text = f"its name has {length} characters, and Windows takes {_MAX_PATH - 1} with the folder's"
        raise _told(errno.ENAMETOOLONG, text, path) from None


def _transfer(call: Callable[..., int], descriptor: int, view: memoryview, offset: int) -> int:
    if not len(view):
        return 0
    count, place = ctypes.c_uint32(), _at(offset)
    address = ctypes.c_void_p(np.frombuffer(view, np.uint8).ctypes.data)
    if call(_handle(descriptor), address, ctypes.c_uint32(len(view)), ctypes.byref(count), ctypes.byref(place)):
        return count.value
    if last_error() == _END_OF_FILE:
        return 0
    raise _error()


def pread(descriptor: int, view: memoryview, offset: int) -> int:
    return _transfer(kernel32.ReadFile, descriptor, view, offset)


def pwrite(descriptor: int, view: memoryview, offset: int) -> int:
    return _transfer(kernel32.WriteFile, descriptor, view, offset)


def copy_range(source: int, target: int, count: int, source_offset: int, target_offset: int) -> int:
    return 0


def reserve(descriptor: int, size: int) -> None:
    # Not os.ftruncate: the C library makes a file longer by writing zeros.
    if not _set_size(descriptor, _END, size):
        raise _error()
    if size and not _set_size(descriptor, _ALLOCATION, size) and last_error() not in _NO_SUCH_CALL:
        raise _error()


def _set_size(descriptor: int, kind: int, size: int) -> bool:
    data = ctypes.byref(ctypes.c_int64(size))
    return bool(kernel32.SetFileInformationByHandle(_handle(descriptor), kind, data, ctypes.c_uint32(8)))


def lock(descriptor: int, shared: bool = False) -> bool:
    one, none, how = ctypes.c_uint32(1), ctypes.c_uint32(0), ctypes.c_uint32(_LOCK_NOW if shared else _LOCK_NOW | _ALONE)
    if kernel32.LockFileEx(_handle(descriptor), how, none, one, none, ctypes.byref(_at(_LOCK_AT))):
        return True
    if last_error() in _LOCKED:
        return False
    if last_error() in _NO_SUCH_CALL:
        return True
    raise _error()


def rename(descriptor: int, old: Path, new: Path) -> None:
    # The number stays taken, by the null device, so that no other thread of the process gets it meanwhile.
    _become(descriptor, os.open(os.devnull, os.O_RDWR | BINARY))
    at = old
    try:
        if not kernel32.MoveFileExW(str(old), str(new), ctypes.c_uint32(_MOVE)):
            raise _not_moved(old, new)
        at = new
    finally:
        with suppress(OSError):
            _become(descriptor, open_own(at, os.O_RDWR))
            lock(descriptor)


def _not_moved(old: Path, new: Path) -> OSError:
    """Why a file did not get another's place: of what is there, Windows has one number for all that forbids it."""
    code = last_error()
    if code != _REFUSED or not os.path.exists(new):
        return _error(old if code in _IN_USE else new, code)
    if os.path.isdir(new):
        return _told(errno.EISDIR, os.strerror(errno.EISDIR), new)
    if _is_read_only(new):
        return _told(errno.EACCES, _READ_ONLY, new)
    return _told(errno.EACCES, f"{_OPEN_ELSEWHERE}, or its permissions forbid to replace it", new, in_use=True)


def check_replaceable(path: Path) -> None:
    if _is_read_only(path):
        raise _told(errno.EACCES, _READ_ONLY, path)
    _close(_opened(path, _DELETE, 0))  # nobody else has it. Who has it mapped only cannot be seen


def _is_read_only(path: Path) -> bool:
    return not os.stat(path).st_mode & stat.S_IWRITE


def _become(descriptor: int, other: int) -> None:
    """The descriptor stands for the other's file from now on; the other is closed."""
    os.dup2(other, descriptor, inheritable=False)
    os.close(other)


def remove(descriptor: int, path: Path) -> None:
    os.close(descriptor)
    try:
        os.unlink(path)
    except PermissionError as error:
        if (code := getattr(error, "winerror", None)) in _IN_USE:
            raise _error(path, code) from None
        raise


def set_mode(descriptor: int, mode: int) -> None:
    """Nothing: what a new file may is inherited from its folder."""


def start_sync(descriptor: int, offset: int, count: int) -> None:
    """Nothing: Windows begins by itself."""


def sync_file(descriptor: int) -> None:
    # Not os.fsync: the C library has one number for whatever goes wrong.
    handle = _handle(descriptor)
    if kernel32.FlushFileBuffers(handle):
        return
    if last_error() != _REFUSED:
        raise _error()
    # The descriptor only reads, as those of outputs that a dead run published do; flushing takes one that may write.
    other = kernel32.ReOpenFile(handle, ctypes.c_uint32(_WRITE), ctypes.c_uint32(_SHARED), ctypes.c_uint32(0))
    if other == _NONE:
        raise _error()
    done = kernel32.FlushFileBuffers(ctypes.c_void_p(other))
    error = None if done else _error()
    _close(other)
    if error:
        raise error


def sync_folder(folder: Path) -> None:
    """Nothing: `rename` writes through."""


def free_space(folder: Path) -> tuple[int, int] | None:
    free, mine = ctypes.c_uint64(), ctypes.c_uint64()
    # The name of a share must end in a separator.
    if not kernel32.GetDiskFreeSpaceExW(os.path.join(folder, ""), ctypes.byref(mine), None, ctypes.byref(free)):
        raise _error(folder)
    return free.value, mine.value


def taken(status: os.stat_result) -> int:
    return status.st_size


def may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def cpu_count() -> int:
    return os.cpu_count() or 1


def after_fork(function: Callable[[], object]) -> None:
    """Nothing: Windows has no fork."""
