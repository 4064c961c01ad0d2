"""The system calls of Windows: the promises of `posix`, by other means.

Positions are part of a read or write here too (OVERLAPPED). A file that is open can be neither renamed nor removed, so it is
closed before; its descriptor keeps its number meanwhile. Every file is opened without translation of line ends. Names in
folders need no sync: they are moved with MOVEFILE_WRITE_THROUGH.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
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
_NO_SUCH_CALL = (1, 50, 87)  # of a file system that cannot do it: invalid function, not supported, invalid parameter
_LOCK_NOW, _ALONE = 1, 2  # LOCKFILE_FAIL_IMMEDIATELY, LOCKFILE_EXCLUSIVE_LOCK
_LOCK_AT = 1 << 62  # a lock keeps others from reading the range: far behind every file's end
_ALLOCATION = 5  # FileAllocationInfo
_MOVE = 1 | 8  # MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH
_NUMBERS = {
    2: errno.ENOENT, 3: errno.ENOENT, 5: errno.EACCES, 6: errno.EBADF, 19: errno.EROFS, 23: errno.EIO, 29: errno.EIO,
    30: errno.EIO, 32: errno.EACCES, 33: errno.EACCES, 39: errno.ENOSPC, 80: errno.EEXIST, 87: errno.EINVAL, 112: errno.ENOSPC,
    183: errno.EEXIST, 223: errno.EFBIG, 1117: errno.EIO, 1295: errno.EDQUOT, 1392: errno.EIO,
}  # fmt: skip
_IN_USE = (32, 33)  # ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION


class Overlapped(ctypes.Structure):
    """Where a read, write or lock begins; DWORDs are 32 bits on every Windows."""

    _fields_ = (("internal", ctypes.c_void_p), ("internal_high", ctypes.c_void_p), ("offset", ctypes.c_uint32),
                ("offset_high", ctypes.c_uint32), ("event", ctypes.c_void_p))


def _error(name: Path | None = None) -> OSError:
    """What the last call refused, with the number that the rest of Python knows it by."""
    code = last_error()
    number = _NUMBERS.get(code, errno.EIO)
    text = "another program has the file open" if code in _IN_USE else f"{os.strerror(number)} (Windows error {code})"
    error = OSError(number, text, *((str(name),) if name else ()))
    error.in_use = code in _IN_USE  # type: ignore[attr-defined]
    return error


def _at(offset: int) -> Overlapped:
    return Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)


def _handle(descriptor: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(handle_of(descriptor))


def opener(name: str, flags: int) -> int:
    return os.open(name, flags | BINARY)


def open_own(path: Path, flags: int) -> int:
    if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return os.open(path, flags | BINARY, 0o666)


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
    os.ftruncate(descriptor, size)
    if not size:
        return
    room = ctypes.byref(ctypes.c_int64(size))
    if not kernel32.SetFileInformationByHandle(_handle(descriptor), _ALLOCATION, room, ctypes.c_uint32(8)) \
            and last_error() not in _NO_SUCH_CALL:
        raise _error()


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
            raise _error(new)
        at = new
    finally:
        with suppress(OSError):
            _become(descriptor, open_own(at, os.O_RDWR))
            lock(descriptor)


def _become(descriptor: int, other: int) -> None:
    """The descriptor stands for the other's file from now on; the other is closed."""
    os.dup2(other, descriptor, inheritable=False)
    os.close(other)


def remove(descriptor: int, path: Path) -> None:
    os.close(descriptor)
    os.unlink(path)


def set_mode(descriptor: int, mode: int) -> None:
    """Nothing: what a new file may is inherited from its folder."""


def start_sync(descriptor: int, offset: int, count: int) -> None:
    """Nothing: Windows begins by itself."""


def sync_file(descriptor: int) -> None:
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Nothing: `rename` writes through."""


def free_space(folder: Path) -> tuple[int, int] | None:
    free = shutil.disk_usage(folder).free
    return free, free


def taken(status: os.stat_result) -> int:
    return status.st_size


def may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def cpu_count() -> int:
    return os.cpu_count() or 1


def after_fork(function: Callable[[], object]) -> None:
    """Nothing: Windows has no fork."""
