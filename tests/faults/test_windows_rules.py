"""Windows' answers to the calls that `system.windows` makes, where it refuses: those of the stand-in, and Wine's.

The numbers are Windows' (Microsoft's documentation of each call, [MS-FSA] and [MS-ERREF]). Where Wine 8.0 on Linux answers
otherwise, its own number stands behind: there Windows is right, and the stand-in follows it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ggufx import system
from ggufx.system import windows

EXCLUSIVE, SHARED = 3, 1  # with LOCKFILE_FAIL_IMMEDIATELY


@dataclass
class Folder:
    """Files that are open or not, and the calls of kernel32 on them: each gives GetLastError, 0 where it went well."""

    path: Path
    descriptors: list[int] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        for handle in self.handles:
            windows.kernel32.CloseHandle(ctypes.c_void_p(handle))

    def file(self, name: str, data: bytes = b"data") -> str:
        (self.path / name).write_bytes(data)
        return str(self.path / name)

    def read_only(self, name: str) -> str:
        path = self.file(name)
        os.chmod(path, 0o444)
        return path

    def handle(self, name: str, flags: int = os.O_RDWR) -> ctypes.c_void_p:
        if not (self.path / name).exists():
            self.file(name)
        self.descriptors.append(system.open_own(self.path / name, flags))
        return windows._handle(self.descriptors[-1])

    def call(self, name: str, *arguments: object) -> int:
        return 0 if getattr(windows.kernel32, name)(*arguments) else windows.last_error()

    def move(self, old: str, new: str) -> int:
        return self.call("MoveFileExW", old, new, ctypes.c_uint32(windows._MOVE))

    def lock(self, handle: object, how: int, at: int = windows._LOCK_AT) -> int:
        zero, one = ctypes.c_uint32(0), ctypes.c_uint32(1)
        return self.call("LockFileEx", handle, ctypes.c_uint32(how), zero, one, zero, ctypes.byref(windows._at(at)))

    def transfer(self, name: str, handle: object, at: int = 0) -> int:
        buffer, moved = ctypes.create_string_buffer(4), ctypes.c_uint32()
        return self.call(name, handle, ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_uint32(4), ctypes.byref(moved),
                         ctypes.byref(windows._at(at)))

    def open(self, path: str, access: int = windows._READ, share: int = windows._SHARED) -> int:
        try:
            self.handles.append(windows._opened(path, access, share))
        except OSError:
            return windows.last_error()
        return 0

    def size(self, handle: object, size: int) -> int:
        data = ctypes.byref(ctypes.c_int64(size))
        return self.call("SetFileInformationByHandle", handle, windows._END, data, ctypes.c_uint32(8))

    def other(self, name: str) -> str:
        return str(self.path / name)


def locked(f: Folder, first: int, second: int) -> int:
    """A file is locked, then by another handle."""
    one, other = f.handle("x"), f.handle("x")
    assert f.lock(one, first) == 0
    return f.lock(other, second)


def locked_twice(f: Folder) -> int:
    one = f.handle("x")
    return f.lock(one, EXCLUSIVE) or f.lock(one, EXCLUSIVE)


def moved(f: Folder, opened: str) -> int:
    old, new = f.file("x"), f.file("y")
    f.handle(opened, os.O_RDONLY)
    return f.move(old, new)


def moved_onto_a_folder(f: Folder) -> int:
    (f.path / "y").mkdir()
    return f.move(f.file("x"), f.other("y"))


def moved_to_a_long_name(f: Folder) -> int:
    windows.kernel32.longest = 259
    return f.move(f.file("x"), f.other("y" * (259 - len(str(f.path)))))


def opened_alone(f: Folder) -> int:
    path = f.file("x")
    assert f.open(path, share=0) == 0
    return f.open(path)


def alone_beside(f: Folder) -> int:
    f.handle("x", os.O_RDONLY)
    return f.open(f.other("x"), windows._DELETE, 0)


RULES: dict[str, tuple[Callable[[Folder], int], int, int | None]] = {
    "move": (lambda f: f.move(f.file("x"), f.other("y")), 0, None),
    "move in the place of a file": (lambda f: f.move(f.file("x"), f.file("y")), 0, None),
    "move what is open": (lambda f: moved(f, "x"), 32, None),
    "move in the place of what is open": (lambda f: moved(f, "y"), 5, None),
    "move in the place of a folder": (moved_onto_a_folder, 5, None),
    "move in the place of what is read-only": (lambda f: f.move(f.file("x"), f.read_only("y")), 5, 0),
    "move what is read-only": (lambda f: f.move(f.read_only("x"), f.other("y")), 0, None),
    "move what is not there": (lambda f: f.move(f.other("x"), f.other("y")), 2, None),
    "move to a folder that is not there": (lambda f: f.move(f.file("x"), f.other("a/y")), 3, None),
    "move to a name of 260 characters": (moved_to_a_long_name, 3, 0),
    "open": (lambda f: f.open(f.file("x")), 0, None),
    "open what is not there": (lambda f: f.open(f.other("x")), 2, None),
    "open in a folder that is not there": (lambda f: f.open(f.other("a/x")), 3, None),
    "open a folder": (lambda f: f.open(str(f.path)), 5, None),
    "open what another has alone": (opened_alone, 32, None),
    "open alone what another has": (alone_beside, 32, None),
    "read at the end": (lambda f: f.transfer("ReadFile", f.handle("x"), 4), 38, None),
    "read behind the end": (lambda f: f.transfer("ReadFile", f.handle("x"), 1 << 40), 38, None),
    "write by what reads": (lambda f: f.transfer("WriteFile", f.handle("x", os.O_RDONLY)), 5, None),
    "read by what writes": (lambda f: f.transfer("ReadFile", f.handle("x", os.O_WRONLY)), 5, None),
    "flush by what reads": (lambda f: f.call("FlushFileBuffers", f.handle("x", os.O_RDONLY)), 5, None),
    "size by what reads": (lambda f: f.size(f.handle("x", os.O_RDONLY), 9), 5, 6),
    "a size below zero": (lambda f: f.size(f.handle("x"), -1), 87, None),
    "lock, lock": (lambda f: locked(f, EXCLUSIVE, EXCLUSIVE), 33, None),
    "lock, share": (lambda f: locked(f, EXCLUSIVE, SHARED), 33, None),
    "share, lock": (lambda f: locked(f, SHARED, EXCLUSIVE), 33, None),
    "share, share": (lambda f: locked(f, SHARED, SHARED), 0, None),
    "lock twice": (locked_twice, 33, None),
    "lock by what reads": (lambda f: f.lock(f.handle("x", os.O_RDONLY), EXCLUSIVE), 0, None),
}


@pytest.mark.parametrize("body", ["windows", "wine"], indirect=True)
@pytest.mark.parametrize("rule", RULES)
def test_rule(body, tmp_path, rule):
    act, windows_says, wine_says = RULES[rule]
    folder = Folder(tmp_path)
    assert act(folder) == (windows_says if body == "windows" or wine_says is None else wine_says)
    folder.close()
