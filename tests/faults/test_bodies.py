"""What each function of `system` promises, on every body: POSIX', Windows' on the rules of stand_in.py, and Windows' in Wine.

Where Wine and Windows part, the stand-in has Windows' rule, and the test says what Wine does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError, StorageError
from ggufx.converters.io.files import open_regular
from ggufx.converters.plan.plan import ConversionPlan, InputFile, OutputFile, Region, TensorJob
from ggufx.converters.run.execute import execute

import ggufx
from ggufx import system
from ggufx.system import windows

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


@pytest.fixture
def made(body, tmp_path: Path):
    """made(name, data): a descriptor of a new file that may be read and written; what is open at the end is closed."""
    descriptors: list[int] = []

    def make(name: str, data: bytes = b"") -> int:
        descriptors.append(system.open_own(tmp_path / name, NEW))
        if data:
            assert system.pwrite(descriptors[-1], memoryview(data), 0) == len(data)
        return descriptors[-1]

    yield make
    for descriptor in descriptors:
        with suppress(OSError):  # closed by the test
            os.close(descriptor)


def read(descriptor: int, count: int, offset: int) -> bytes:
    view = memoryview(bytearray(count))
    return bytes(view[: system.pread(descriptor, view, offset)])


def alone(path: Path) -> ctypes.c_void_p:
    """A handle by which another program has a file for itself."""
    return ctypes.c_void_p(windows._opened(path, windows._READ, 0))


# ------------------------------------------------------------------------------------------------------ reads and writes


def test_bytes_are_as_they_are_at_positions_beyond_four_gigabytes(made):
    descriptor, at = made("x", b"front"), (5 << 30) + 3
    assert system.pwrite(descriptor, memoryview(b"a\nb\r\n\x1a"), at) == 6
    assert read(descriptor, 10, at) == b"a\nb\r\n\x1a", "what is there"
    assert read(descriptor, 10, at + 6) == read(descriptor, 10, at + (1 << 33)) == b"", "the end, and behind it"
    assert read(descriptor, 5, 0) == b"front"
    assert system.pread(descriptor, memoryview(bytearray()), 0) == system.pwrite(descriptor, memoryview(b""), 0) == 0


def test_threads_share_a_descriptor_and_no_position(made):
    descriptor = made("x", bytes(range(100)))
    os.write(descriptor, b"")
    assert read(descriptor, 3, 50) == bytes(range(50, 53))
    assert read(descriptor, 3, 0) == bytes(range(3))


def test_what_may_only_be_read(made, tmp_path):
    made("x", b"old")
    descriptor = system.open_own(tmp_path / "x", os.O_RDONLY)
    with pytest.raises(OSError) as caught:  # noqa: PT011 the number is what is compared
        system.pwrite(descriptor, memoryview(b"new"), 0)
    assert caught.value.errno in (errno.EBADF, errno.EACCES)
    system.sync_file(descriptor)  # of what a dead run has published, say
    assert read(descriptor, 9, 0) == b"old"
    os.close(descriptor)


def test_a_descriptor_that_is_none(body):
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.close(987)


# ---------------------------------------------------------------------------------------------------------- sizes, room


@pytest.mark.parametrize("size", [0, 3, (4 << 30) + 5])
def test_reserve_gives_the_size(made, tmp_path, size):
    """What is in front stays, what is behind is zeros, or is cut off; nothing is written for it."""
    descriptor = made("x", b"front")
    system.reserve(descriptor, size)
    assert (tmp_path / "x").stat().st_size == os.fstat(descriptor).st_size == size
    assert read(descriptor, 8, 0) == b"front\0\0\0"[:size]
    assert read(descriptor, 8, size - 4 if size > 8 else size) == bytes(4 if size > 8 else 0)


def test_reserve_more_than_there_can_be(made, tmp_path):
    descriptor = made("x", b"front")
    with pytest.raises(OSError) as caught:  # noqa: PT011 the number is what is compared
        system.reserve(descriptor, 1 << 62)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC, errno.EINVAL, errno.ENOMEM)
    assert (tmp_path / "x").read_bytes() == b"front"


def test_free_space(body, tmp_path):
    free, mine = system.free_space(tmp_path)
    assert free >= mine > 0
    total = os.statvfs(tmp_path)
    assert free < total.f_blocks * total.f_frsize


# ---------------------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize(("first", "second", "got"), [(False, False, False), (True, False, False), (False, True, False),
                                                      (True, True, True)])
def test_locks(made, tmp_path, first, second, got):
    one = made("x", b"held")
    other = system.open_own(tmp_path / "x", os.O_RDWR)
    assert system.lock(one, first)
    assert system.lock(other, second) is got
    assert read(other, 9, 0) == b"held", "a lock keeps nobody from reading"
    assert system.pwrite(other, memoryview(b"HELD"), 0) == 4, "or writing"
    os.close(one)
    third = system.open_own(tmp_path / "x", os.O_RDWR)
    if got:
        assert not system.lock(third), "the second has it still"
        os.close(other)
    assert system.lock(third), "locks end with the descriptor"
    os.close(third)
    if not got:
        os.close(other)


def test_a_lock_ends_with_the_last_of_its_descriptors(made, tmp_path):
    one = made("x")
    twin, other = os.dup(one), system.open_own(tmp_path / "x", os.O_RDWR)
    assert system.lock(one)
    os.close(one)
    assert not system.lock(other)
    os.close(twin)
    assert system.lock(other)
    os.close(other)


def test_locks_of_a_process_that_is_killed(in_wine, tmp_path, monkeypatch):
    """Of another process of Windows: its lock holds here, and is gone when it is."""
    from faults.wine import Windows, Wine

    mine = system.open_own(tmp_path / "x", NEW)
    theirs = Windows(Wine())
    with monkeypatch.context() as patch:
        patch.setattr(windows, "kernel32", theirs)
        patch.setattr(windows, "handle_of", lambda handle: handle)
        assert system.lock(windows._opened(tmp_path / "x", windows._READ, windows._SHARED))
    assert not system.lock(mine)
    theirs.wine.process.send_signal(signal.SIGKILL)
    theirs.wine.close()
    while not system.lock(mine):  # Windows too says only that it will let go
        pass
    os.close(mine)


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["new", "模型✓😀.gguf", "Größe von a b.gguf", "x" * 200])
def test_rename(made, tmp_path, name):
    """In the place of what is there; the descriptor keeps its number, its file and its lock."""
    (tmp_path / name).write_bytes(b"old")
    descriptor = made("x.part", b"bytes")
    assert system.lock(descriptor)
    system.rename(descriptor, tmp_path / "x.part", tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"bytes"
    assert os.path.samestat(os.fstat(descriptor), os.stat(tmp_path / name))
    assert read(descriptor, 9, 0) == b"bytes"
    other = system.open_own(tmp_path / name, os.O_RDWR)
    assert not system.lock(other)
    os.close(other)


def test_rename_a_descriptor_of_pythons_own(body, tmp_path):
    """As `whole_file` does, whose files Python opens."""
    with open(tmp_path / "x.part", "xb") as file:
        file.write(b"bytes")
        file.flush()
        system.sync_file(file.fileno())
        system.rename(file.fileno(), tmp_path / "x.part", tmp_path / "x")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"bytes"}


def test_rename_what_others_have_open(body, made, tmp_path):
    """Windows refuses: the text says why, both files stay, and so does the lock."""
    target, descriptor = made("x", b"old"), made("x.part", b"new")
    assert system.lock(descriptor)
    if body == "posix":
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
        assert read(target, 9, 0) == b"old"
        return
    with pytest.raises(PermissionError, match="another program has the file open") as caught:
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert caught.value.in_use
    assert caught.value.filename == str(tmp_path / "x")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"old", "x.part": b"new"}
    other = system.open_own(tmp_path / "x.part", os.O_RDWR)
    assert not system.lock(other)
    os.close(target)
    with pytest.raises(PermissionError, match="another program has the file open") as caught:
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert caught.value.filename == str(tmp_path / "x.part"), "the other one"
    os.close(other)
    system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"new"}


def test_rename_in_the_place_of_what_is_only_mapped(in_wine, tmp_path):
    """As runtimes have their models, whose files they close. The stand-in knows no mapping."""
    from faults.wine import Wine, path_of

    (tmp_path / "x").write_bytes(b"old")
    theirs, number = Wine(), ctypes.c_uint32
    path = path_of(tmp_path / "x")
    file = ctypes.c_void_p(theirs.call("kernel32.dll!CreateFileW", path, number(windows._READ), 3, None, 3, 0, None))
    mapping = ctypes.c_void_p(theirs.call("kernel32.dll!CreateFileMappingW", file, None, 2, 0, 0, None))
    assert theirs.call("kernel32.dll!MapViewOfFile", mapping, 4, 0, 0, ctypes.c_uint64(0))
    for handle in (mapping, file):
        assert theirs.call("kernel32.dll!CloseHandle", handle)
    descriptor = system.open_own(tmp_path / "x.part", NEW)
    with pytest.raises(PermissionError, match="another program has the file open, or its permissions") as caught:
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert caught.value.in_use
    theirs.close()
    while (tmp_path / "x.part").exists():  # until it is let go of
        with suppress(PermissionError):
            system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    os.close(descriptor)


def test_rename_in_the_place_of_what_is_read_only(body, made, tmp_path):
    """Windows refuses; POSIX and Wine do not look at the file, but at its folder."""
    descriptor = made("x.part", b"new")
    (tmp_path / "x").write_bytes(b"old")
    (tmp_path / "x").chmod(0o444)
    if body != "windows":
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == b"new"
        return
    with pytest.raises(PermissionError, match="the file is read-only") as caught:
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert not caught.value.in_use
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"old", "x.part": b"new"}


def test_rename_in_the_place_of_a_folder(made, tmp_path):
    descriptor = made("x.part")
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match=os.strerror(errno.EISDIR)):
        system.rename(descriptor, tmp_path / "x.part", tmp_path / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "x.part"]


def test_remove(made, tmp_path):
    descriptor = made("x")
    system.remove(descriptor, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)


def test_remove_what_others_have_open(body, made, tmp_path):
    descriptor, other = made("x"), system.open_own(tmp_path / "x", os.O_RDWR)
    if body == "posix":
        system.remove(descriptor, tmp_path / "x")
    else:
        with pytest.raises(PermissionError, match="another program has the file open") as caught:
            system.remove(descriptor, tmp_path / "x")
        assert caught.value.in_use
        assert (tmp_path / "x").exists()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(descriptor)
    os.close(other)


def test_open_own(made, tmp_path):
    os.close(made("x"))
    with pytest.raises(FileExistsError):
        system.open_own(tmp_path / "x", NEW)
    with pytest.raises(FileNotFoundError):
        system.open_own(tmp_path / "y", os.O_RDWR)
    with pytest.raises(FileNotFoundError):
        system.open_own(tmp_path / "folder" / "y", NEW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        system.open_own(tmp_path / "folder", os.O_RDWR)
    (tmp_path / "link").symlink_to(tmp_path / "x")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        system.open_own(tmp_path / "link", os.O_RDWR)


def test_a_source_that_is_a_folder(body, tmp_path):
    with pytest.raises(InputError, match=r"is a directory, a file is needed|not a regular file"), open_regular(tmp_path):
        pass


@pytest.mark.parametrize("held", ["open", "read-only"])
def test_a_set_of_which_one_cannot_be_replaced(body, tmp_path, held):
    """It is told before anything is done, and the old set stays whole."""
    outputs = tuple(OutputFile(tmp_path / name, 3, b"new") for name in ("a", "b", "c"))
    plan = ConversionPlan("test", (), outputs, (), ())
    for output in outputs:
        output.path.write_bytes(b"old")
    if held == "open":
        reader = system.open_own(tmp_path / "b", os.O_RDONLY)
    else:
        (tmp_path / "b").chmod(0o444)
    if body == "posix":
        execute(plan, force=True)
    else:
        text = {"open": "another program has the file open", "read-only": "the file is read-only"}[held]
        with pytest.raises(StorageError, match=f"b: cannot be written: {text}") as caught:
            execute(plan, force=True)
        assert caught.value.hint
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == dict.fromkeys("abc", b"new" if body == "posix" else b"old")
    if held == "open":
        os.close(reader)
    else:
        (tmp_path / "b").chmod(0o644)
    execute(plan, force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == dict.fromkeys("abc", b"new")


def test_a_set_of_which_one_is_opened_meanwhile(body, tmp_path):
    """Before the first of the old ones goes."""
    outputs = tuple(OutputFile(tmp_path / name, 3, b"new") for name in ("a", "b", "c"))
    for output in outputs:
        output.path.write_bytes(b"old")
    readers: list[int] = []

    def progress(*_: object) -> None:
        readers[:] = readers or [system.open_own(tmp_path / "b", os.O_RDONLY)]

    source = tmp_path / "source"
    source.write_bytes(bytes(64))
    region = Region(0, 0, "F32", (16,))
    outputs += (OutputFile(tmp_path / "d", 64),)
    jobs = (TensorJob("t", (region,), (), (replace(region, file=3),)),)
    plan = ConversionPlan("test", (InputFile.of(source),), outputs, jobs, ())
    if body == "posix":
        execute(plan, force=True, progress=progress)
    else:
        with pytest.raises(StorageError, match="b: cannot be written: another program has the file open"):
            execute(plan, force=True, progress=progress)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == dict.fromkeys("abc", b"old") | {"source": bytes(64)}
    os.close(readers[0])


def test_a_published_part_of_a_dead_run_that_is_read_already(body, make, server, tmp_path):
    conversion = make()
    assert server.run(conversion.plan_file, die_at=[["replace"], 3], body=body)[0] == -signal.SIGKILL
    assert conversion.check() == 2
    reader = system.open_own(conversion.plan.outputs[0].path, os.O_RDONLY)
    execute(conversion.plan, resume=True)
    os.close(reader)
    conversion.check_done()


@pytest.mark.parametrize("body", ["windows", "wine"], indirect=True)
def test_what_another_program_has_for_itself(body, tmp_path):
    """A source that is still downloaded, a `.part` that is being looked through."""
    for name in ("source", "x.part"):
        (tmp_path / name).write_bytes(b"held")
    handles = [alone(tmp_path / name) for name in ("source", "x.part")]
    with pytest.raises(StorageError, match=r"source: cannot be opened: another program has the file open"), \
            open_regular(tmp_path / "source"):
        pass
    plan = ConversionPlan("test", (), (OutputFile(tmp_path / "x", 2, b"{}"),), (), ())
    with pytest.raises(StorageError, match=r"x: cannot be written: another program has the file open") as caught:
        execute(plan)
    assert "Close the program" in caught.value.hint
    for handle in handles:
        windows.kernel32.CloseHandle(handle)
    execute(plan)
    assert (tmp_path / "x").read_bytes() == b"{}"


def test_names_longer_than_windows_takes(body, tmp_path):
    """Without long paths (Windows' usual state) the error says so; POSIX and Wine take them."""
    folder = tmp_path
    while len(str(folder)) < 240:
        folder /= "d" * 10
    folder.mkdir(parents=True)
    path = folder / ("x" * (258 - len(str(folder))))
    assert len(str(path)) == 259
    plan = ConversionPlan("test", (), (OutputFile(path, 2, b"{}"),), (), ())
    if body != "windows":
        execute(plan)
        assert path.read_bytes() == b"{}"
        return
    windows.kernel32.longest = 259
    with pytest.raises(StorageError, match="its name has 264 characters, and Windows takes 259") as caught:
        execute(plan)
    assert "LongPathsEnabled" in caught.value.hint
    assert list(folder.iterdir()) == []


def made_of(model: Path, folder: Path) -> dict[str, bytes]:
    """A checkpoint as GGUF, quantized, split, back, and edited in place; and by two shards of a plan."""
    folder.mkdir()
    ggufx.hf_to_gguf(model, folder / "f16.gguf", outtype="f16", threads=2)
    ggufx.quantize(folder / "f16.gguf", folder / "q8_0.gguf", "q8_0", threads=2)
    ggufx.split(folder / "q8_0.gguf", folder / "split", max_tensors=9, threads=2)
    ggufx.gguf_to_hf(folder / "f16.gguf", folder / "back", threads=2)
    ggufx.edit(folder / "q8_0.gguf", set={"general.name": "模型"})
    ggufx.edit(folder / "q8_0.gguf", set={"general.name": "模型✓"}, checksums=False)
    ggufx.write_plan(ggufx.hf_to_gguf(model, folder / "shared.gguf", outtype="f16", dry_run=True), folder.with_suffix(".json"))
    for index in (1, 0, 1):
        ggufx.run_shard(folder.with_suffix(".json"), index, 2, threads=2)
    ggufx.commit(folder.with_suffix(".json"), threads=2)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made_here(zoo, tmp_path_factory) -> dict[str, bytes]:
    return made_of(zoo("llama-mha"), tmp_path_factory.mktemp("here") / "made")


@pytest.mark.parametrize("body", ["windows", "wine"], indirect=True)
def test_windows_writes_the_same_bytes(made_here, body, zoo, tmp_path):
    made = made_of(zoo("llama-mha"), tmp_path / "made")
    assert made.keys() == made_here.keys()
    assert [name for name in made if made[name] != made_here[name]] == []
