"""Wine's Windows for this Python: what `system.windows` calls is served by a process under Wine (scripts/wine_calls.c).

kernel32's functions get the bytes that ctypes would have passed on Windows, structures as they lie in memory; the functions of
`os` do what CPython's do there, by the C library's (ucrtbase). A descriptor of Windows goes with one of this machine on the
same file, by the number of which Python knows both. Reads, writes, sizes, syncs and renames first ask the functions of `os`
with which this machine would do them, so that the tests which let those fail fail these as well.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import threading
from typing import Any

from faults import stand_in
from faults.stand_in import BACK, BINARY

VARIABLE = "GGUFX_WINE"
FLAGS = {os.O_WRONLY: 1, os.O_RDWR: 2, os.O_APPEND: 8, os.O_CREAT: 0x100, os.O_TRUNC: 0x200, os.O_EXCL: 0x400}  # <fcntl.h>
O_BINARY, O_NOINHERIT = 0x8000, 0x80
MARK = os.O_NONBLOCK  # of our descriptors that have one in Wine: files do not mind, and Python's own files are opened without
END_OF_FILE_INFO = 6
NUMBERS = {36: errno.EDEADLK, 38: errno.ENAMETOOLONG, 39: errno.ENOLCK, 40: errno.ENOSYS, 41: errno.ENOTEMPTY}  # of ucrtbase
AS_PYTHON = {2: errno.ENOENT, 3: errno.ENOENT, 5: errno.EACCES, 32: errno.EACCES, 33: errno.EACCES}  # PC/errmap.h


class Asked:
    """An argument with which a function of `os` is asked whether it would, and does nothing."""


class Handle(Asked, int):
    pass


class Name(Asked, str):
    pass


def path_of(name: str | os.PathLike[str]) -> str:
    """A file of this machine by its name in Wine."""
    text = os.fspath(name)
    return "NUL" if text == os.devnull else "Z:" + os.path.abspath(text).replace("/", "\\")


class Wine:
    """A process under Wine. `code`: GetLastError of this thread's last call. `keep`: descriptors that stay open in it."""

    def __init__(self, *keep: int) -> None:
        self.process = subprocess.Popen([os.environ[VARIABLE]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=keep)
        self._one = threading.Lock()
        self._of_thread = threading.local()

    @property
    def code(self) -> int:
        return self._of_thread.code

    @code.setter
    def code(self, code: int) -> None:
        self._of_thread.code = code

    @property
    def number(self) -> int:
        """What errno was after the last call."""
        return NUMBERS.get(self._of_thread.number, self._of_thread.number)

    def call(self, name: str, *arguments: Any) -> int:
        """A function's result, as ctypes takes it where nothing else is said: an int of 32 bits."""
        data = [_packed(a) for a in arguments]
        sent = b"".join((struct.pack("<I", len(name)), name.encode(), struct.pack("<I", len(data)), *data))
        with self._one:
            self.process.stdin.write(sent)
            self.process.stdin.flush()
            result, self.code, self._of_thread.number = struct.unpack("<qII", self._read(16))
            for argument, packed in zip(arguments, data, strict=True):
                if (size := struct.unpack("<I", packed[:4])[0]):
                    _take_back(argument, self._read(size - 1))
        assert self.code != 127, f"Wine has no {name}"
        return ctypes.c_int(result & 0xFFFFFFFF).value

    def _read(self, count: int) -> bytes:
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise AssertionError(f"Wine has ended: {self.process.wait()}")
        return data

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _packed(argument: Any) -> bytes:
    if isinstance(argument, int):
        argument = ctypes.c_int(argument)
    if argument is None:
        argument = ctypes.c_void_p(0)
    if isinstance(argument, ctypes._SimpleCData):
        return struct.pack("<IQ", 0, (argument.value or 0) & 0xFFFFFFFFFFFFFFFF)
    if isinstance(argument, str):
        data = (argument + "\0").encode("utf-16-le", "surrogatepass")
    elif isinstance(argument, memoryview):
        data = bytes(argument)
    else:
        data = bytes(argument._obj)  # ctypes.byref
    return struct.pack("<I", len(data) + 1) + data


def _take_back(argument: Any, data: bytes) -> None:
    """What the function left in a buffer."""
    if isinstance(argument, memoryview):
        if not argument.readonly:
            argument[:] = data
    elif not isinstance(argument, str):
        ctypes.memmove(ctypes.addressof(argument._obj), data, len(data))


class Windows:
    """kernel32 and the C library's part of `os`, and the descriptors that are open in both."""

    NAMES = ("open", "close", "dup", "dup2", "unlink", "write", "fsync", "ftruncate", "preadv", "pwrite", "replace")

    def __init__(self, wine: Wine) -> None:
        self.wine = wine
        self.own = {name: getattr(os, name) for name in self.NAMES}
        self.descriptors: dict[int, tuple[int, tuple[int, int]]] = {}  # ours -> Wine's; device and inode
        self._numbers = threading.RLock()  # both descriptors of a file come and go at once

    @property
    def code(self) -> int:
        return self.wine.code

    # ---------------------------------------------------------------------------------------------- the C library

    def crt_open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if "dir_fd" in more or os.path.isdir(path):
            return self.own["open"](path, flags & ~BINARY, mode, **more)  # Python's own walks through folders
        assert not flags & (os.O_NOFOLLOW | os.O_NONBLOCK | os.O_DIRECTORY), "Windows has no such flag"
        self.forget_closed()
        how = sum(its for ours, its in FLAGS.items() if flags & ours) | O_NOINHERIT | (O_BINARY if flags & BINARY else 0)
        its = self.wine.call("ucrtbase.dll!_wopen", path_of(path), how, 0o600 & mode)
        if its < 0:
            raise OSError(self.wine.number, os.strerror(self.wine.number), str(path))
        return self._note(self.own["open"](path, flags & (os.O_WRONLY | os.O_RDWR) | MARK | os.O_CLOEXEC), its)

    def crt_close(self, descriptor: int) -> None:
        with self._numbers:
            self.forget_closed()
            if descriptor in self.descriptors:
                self._succeeds("_close", self.descriptors.pop(descriptor)[0])
            self.own["close"](descriptor)

    def crt_dup(self, descriptor: int) -> int:
        with self._numbers:
            self.forget_closed()
            if descriptor not in self.descriptors:
                return self.own["dup"](descriptor)
            its = self._succeeds("_dup", self.descriptors[descriptor][0])
            return self._note(self.own["dup"](descriptor), its)

    def crt_dup2(self, one: int, two: int, inheritable: bool = True) -> int:
        with self._numbers:
            self.forget_closed()
            if one not in self.descriptors:
                return self.own["dup2"](one, two, inheritable)
            its = self.descriptors[one][0]
            if two in self.descriptors:
                self._succeeds("_dup2", its, theirs := self.descriptors[two][0])
            else:
                theirs = self._succeeds("_dup", its)
            return self._note(self.own["dup2"](one, two, inheritable), theirs)

    def crt_unlink(self, path: Any, **more: Any) -> None:
        if more:
            self.own["unlink"](path, **more)
            return
        self.forget_closed()
        if not self.wine.call("kernel32.dll!DeleteFileW", path_of(path)):
            error = OSError(AS_PYTHON.get(self.code, errno.EINVAL), f"[WinError {self.code}]", str(path))
            error.winerror = self.code
            raise error

    def crt_write(self, descriptor: int, data: bytes) -> int:
        if descriptor not in self.descriptors:
            return self.own["write"](descriptor, data)
        view = memoryview(bytes(data))
        return self._succeeds("_write", self.descriptors[descriptor][0], view, len(view))

    def crt_fsync(self, descriptor: int) -> None:
        if isinstance(descriptor, Asked):
            return
        if descriptor not in self.descriptors:
            self.own["fsync"](descriptor)
        else:
            self._succeeds("_commit", self.descriptors[descriptor][0])

    def crt_ftruncate(self, descriptor: int, size: int) -> None:
        if isinstance(descriptor, Asked):
            return
        if descriptor not in self.descriptors:
            self.own["ftruncate"](descriptor, size)
        elif number := self.wine.call("ucrtbase.dll!_chsize_s", self.descriptors[descriptor][0], ctypes.c_int64(size)):
            raise OSError(number, os.strerror(number))

    def crt_preadv(self, descriptor: int, views: Any, at: int) -> int:
        return len(views[0]) if isinstance(descriptor, Asked) else self.own["preadv"](descriptor, views, at)

    def crt_pwrite(self, descriptor: int, data: Any, at: int) -> int:
        return len(data) if isinstance(descriptor, Asked) else self.own["pwrite"](descriptor, data, at)

    def crt_replace(self, old: Any, new: Any, **more: Any) -> None:
        if not isinstance(old, Asked):
            self.own["replace"](old, new, **more)

    def _succeeds(self, name: str, *arguments: Any) -> int:
        result = self.wine.call(f"ucrtbase.dll!{name}", *arguments)
        if result < 0:
            raise OSError(self.wine.number, os.strerror(self.wine.number))
        return result

    def handle_of(self, descriptor: int) -> int:
        """_get_osfhandle; handles have 32 bits that count."""
        self.forget_closed()
        if descriptor not in self.descriptors:  # Python opened it, without `os`
            self._adopt(descriptor)
        return self._succeeds("_get_osfhandle", self.descriptors[descriptor][0])

    def _adopt(self, descriptor: int) -> None:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | MARK)
        how = flags & os.O_ACCMODE
        path = path_of(os.readlink(f"/proc/self/fd/{descriptor}"))
        self._note(descriptor, self._succeeds("_wopen", path, FLAGS.get(how, 0) | O_NOINHERIT | O_BINARY, 0o600))

    def _note(self, descriptor: int, its: int) -> int:
        status = os.fstat(descriptor)
        self.descriptors[descriptor] = its, (status.st_dev, status.st_ino)
        return descriptor

    def forget_closed(self) -> None:
        """Close in Wine what Python's file objects closed by themselves."""
        with self._numbers:
            for descriptor, (its, known) in list(self.descriptors.items()):
                try:
                    status, marked = os.fstat(descriptor), fcntl.fcntl(descriptor, fcntl.F_GETFL) & MARK
                except OSError:
                    marked = False
                if not marked or (status.st_dev, status.st_ino) != known:
                    del self.descriptors[descriptor]
                    self._succeeds("_close", its)

    def close_all(self) -> None:
        for its, _ in self.descriptors.values():
            self._succeeds("_close", its)
        self.descriptors.clear()

    # -------------------------------------------------------------------------------------------------- kernel32

    def _would(self, name: str, *arguments: Any) -> int | None:
        """How many bytes this machine's function is told to move, 0 if it moves none. None where a test lets it fail: then
        this is what the call fails with."""
        try:
            return getattr(os, name)(*arguments) or 0
        except OSError as error:
            self.wine.code = BACK.get(error.errno, 31)
            return None

    def _move_bytes(self, name: str, handle: Any, address: Any, count: Any, moved: Any, place: Any) -> int:
        view = memoryview((ctypes.c_char * count.value).from_address(address.value)).cast("B")
        if name == "ReadFile":
            allowed = self._would("preadv", Handle(handle.value), [view], 0)
        else:
            allowed = self._would("pwrite", Handle(handle.value), view, 0)
        if allowed is None:
            return 0
        return self.wine.call(f"kernel32.dll!{name}", handle, view[:allowed], ctypes.c_uint32(allowed), moved, place)

    def ReadFile(self, *arguments: Any) -> int:
        return self._move_bytes("ReadFile", *arguments)

    def WriteFile(self, *arguments: Any) -> int:
        return self._move_bytes("WriteFile", *arguments)

    def SetFileInformationByHandle(self, handle: Any, kind: int, *more: Any) -> int:
        if kind == END_OF_FILE_INFO and self._would("ftruncate", Handle(handle.value), 0) is None:
            return 0
        return self.wine.call("kernel32.dll!SetFileInformationByHandle", handle, kind, *more)

    def FlushFileBuffers(self, handle: Any) -> int:
        if self._would("fsync", Handle(handle.value)) is None:
            return 0
        return self.wine.call("kernel32.dll!FlushFileBuffers", handle)

    def MoveFileExW(self, old: str, new: str, flags: Any) -> int:
        self.forget_closed()
        if self._would("replace", Name(old), new) is None:
            return 0
        return self.wine.call("kernel32.dll!MoveFileExW", path_of(old), path_of(new), flags)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.forget_closed()
            return self.wine.call(f"kernel32.dll!{name}", *(path_of(a) if isinstance(a, str) else a for a in arguments))

        return call


def install(patch: Any, wine: Wine) -> Windows:
    """Put the Windows body into `system`, on Wine."""
    return stand_in.install(patch, Windows(wine))
