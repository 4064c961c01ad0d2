"""The system calls of Linux and macOS. What each function promises stands here; `windows` keeps the same promises."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

CUDA_DRIVER = "libcuda.so.1"

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)  # some network file systems
_NO_RESERVATION = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync leaves the data in the drive's cache
_DARWIN = sys.platform == "darwin"
_F_PREALLOCATE, _CONTIGUOUS, _ALL, _FROM_END = 42, 2, 4, 3  # <sys/fcntl.h> of macOS
_BLOCK = 4096  # bytes, of file systems that share them
_WRITE_NOW = 2  # SYNC_FILE_RANGE_WRITE, <linux/fs.h>
_FSTORE = struct.Struct("=Iiqqq")  # flags, position mode, offset, length, bytes allocated


def opener(name: str, flags: int) -> int:
    """For `open(.., opener=)`: a FIFO is not waited for, and bytes are as they are."""
    return os.open(name, flags | os.O_NONBLOCK)


def open_own(path: Path, flags: int) -> int:
    """A descriptor of a file that ggufx itself made or makes: never through a link. OSError (ELOOP) where it is one."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def pread(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill a part of `view` with what stands at `offset`; how many bytes, 0 at the end of the file. Threads share the
    descriptor. At most 1 GiB at once."""
    return os.preadv(descriptor, [view], offset)


def pwrite(descriptor: int, view: memoryview, offset: int) -> int:
    """Write a part of `view` at `offset`; how many bytes. Threads share the descriptor. At most 1 GiB at once."""
    return os.pwrite(descriptor, view, offset)


def copy_range(source: int, target: int, count: int, source_offset: int, target_offset: int) -> int:
    """How many bytes the system copied itself from one file to the other: shared blocks, or a server's copy, where the file
    system can. 0 where it has no such call, or a copy through a buffer is cheaper; OSError where it refuses."""
    if not hasattr(os, "copy_file_range"):
        return 0
    # On a disk of this machine whole blocks can be shared, and nothing else: other bytes the system moves page by page.
    if (source_offset | target_offset) % _BLOCK and os.major(os.fstat(target).st_dev):
        return 0
    return os.copy_file_range(source, target, count, source_offset, target_offset)


def reserve(descriptor: int, size: int) -> None:
    """Give a file its size, and its room on the disk where the file system can. OSError where there is not enough."""
    if _DARWIN and size:
        _preallocate(descriptor, size)
    os.ftruncate(descriptor, size)
    if size and not _DARWIN:
        _fallocate(descriptor, size)


def _fallocate(descriptor: int, size: int) -> None:
    """Linux's fallocate itself: where a file system lacks it, the C library's posix_fallocate writes to every block."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    while fallocate(descriptor, 0, 0, size):
        number = ctypes.get_errno()
        if number in _NO_RESERVATION:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _preallocate(descriptor: int, size: int) -> None:
    """macOS's F_PREALLOCATE, which counts from the end of what is there: in one piece if possible, else in several."""
    missing = size - taken(os.fstat(descriptor))
    if missing <= 0:
        return
    for flags in (_CONTIGUOUS | _ALL, _ALL):
        try:
            fcntl.fcntl(descriptor, _F_PREALLOCATE, _FSTORE.pack(flags, _FROM_END, 0, missing, 0))
            return
        except OSError as error:
            if error.errno in _NO_RESERVATION:
                return
            if flags == _ALL:
                raise


def lock(descriptor: int, shared: bool = False) -> bool:
    """Lock a file for as long as the descriptor is open; False where another process, or another descriptor of this one, has
    it. `shared`: with others that lock it so. Where the file system has no locks, all get it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def rename(descriptor: int, old: Path, new: Path) -> None:
    """Give an open file another name at once, in the place of what has it. The descriptor and its lock stay."""
    os.replace(old, new)


def check_replaceable(path: Path) -> None:
    """OSError where a file that is there cannot make room for another of its name, as far as can be told without trying. Here
    that goes by its folder alone."""


def remove(descriptor: int, path: Path) -> None:
    """Remove an open file, and close it, whatever happens."""
    try:
        os.unlink(path)
    finally:
        os.close(descriptor)


def set_mode(descriptor: int, mode: int) -> None:
    """Permissions of a file. OSError where the file system has none."""
    os.fchmod(descriptor, mode)


def start_sync(descriptor: int, offset: int, count: int) -> None:
    """Have the system begin to write a range to the disk, where it takes such a word; what goes wrong, `sync_file` tells."""
    write_now = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if write_now is not None:
        write_now(ctypes.c_int(descriptor), ctypes.c_int64(offset), ctypes.c_int64(count), ctypes.c_uint(_WRITE_NOW))


def sync_file(descriptor: int) -> None:
    """Bring a file's bytes to the disk, past the drive's own cache."""
    if _FULL_SYNC is not None:
        try:
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
        except OSError as error:  # of network and foreign file systems
            if error.errno not in (*_NO_SYNC, errno.ENOTTY, errno.ENOTSUP):
                raise
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def free_space(folder: Path) -> tuple[int, int] | None:
    """Bytes that are free on a folder's disk, and those of them that this user may take. None where that is not told."""
    room = os.statvfs(folder)
    return (room.f_bfree * room.f_frsize, room.f_bavail * room.f_frsize) if room.f_blocks else None


def taken(status: os.stat_result) -> int:
    """Bytes of the disk that a file takes: holes take none, reserved room does."""
    return 512 * status.st_blocks


def may_write(folder: Path) -> bool:
    """Whether files may be made in a folder, as far as can be told without trying."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def cpu_count() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def after_fork(function: Callable[[], object]) -> None:
    """Call it in every child that this process forks."""
    os.register_at_fork(after_in_child=function)
