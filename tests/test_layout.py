"""The shape of the code: imports go one way, packages are complete, and light commands stay light."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cli", "converters", "quant")
SYSTEM = ROOT / "src" / "ggufx" / "system"  # inside of the root package, since all others may need it
# The rooms, from the ground up, and what each may import beside itself. A room names only rooms above its own line here,
# so that no two can come to need each other. `quant.formats` is the table of formats alone.
LAW = {
    "system": (),
    "quant": ("system",),
    "quant.recipes": ("quant",),
    "notes": (),
    "errors": ("notes",),
    "ops": ("quant",),
    "io": ("system", "errors", "quant.formats"),
    "sources": ("errors", "io"),
    "sources.original": ("errors", "io", "ops", "sources"),
    "sources.packed": ("notes", "errors", "io", "ops", "sources", "sources.original"),
    "sources.merged": ("io", "ops", "sources.packed"),
    "rules": ("errors", "ops", "io", "sources"),
    "arch.projectors": ("errors", "rules"),
    "arch": ("errors", "rules", "arch.projectors"),
    "tokenizer": ("notes", "errors", "io"),
    "metadata": ("errors", "io", "sources"),
    "plan": ("notes", "errors", "ops", "io", "quant.formats"),
    "planners": ("notes", "errors", "ops", "io", "sources", "rules", "arch", "arch.projectors", "tokenizer", "metadata", "plan",
                 "sources.original", "sources.packed", "sources.merged", "quant", "quant.recipes"),
    "inspect": ("errors", "io", "sources", "rules", "arch", "tokenizer", "sources.original", "sources.packed", "quant.recipes"),
    "run": ("system", "notes", "errors", "ops", "io", "plan", "quant"),
    "verify": ("system", "notes", "errors", "ops", "io", "sources", "rules", "arch", "arch.projectors", "tokenizer", "plan",
               "planners", "sources.original", "sources.packed", "sources.merged", "run", "quant"),
    "calibrate": ("system", "errors", "io", "metadata", "ops", "rules", "tokenizer", "planners", "verify", "run", "quant"),
    "measure": ("notes", "errors", "io", "planners", "verify", "quant.recipes"),
    "report": ("errors", "io", "plan", "run", "measure", "verify"),
    "publish": ("notes", "errors", "io", "sources", "metadata", "inspect", "run", "measure", "quant.recipes"),
    "batch": ("errors", "io", "sources", "plan", "planners", "run"),
    "cli": ("notes", "errors", "io", "sources", "arch", "arch.projectors", "metadata", "inspect", "plan", "planners", "run",
            "verify", "report", "publish", "calibrate", "measure", "batch",
            "quant", "quant.recipes"),
}


def modules() -> list[Path]:
    return [path for folder in (SYSTEM, *(ROOT / package for package in PACKAGES)) for path in sorted(folder.rglob("*.py"))]


def module_name(path: Path) -> str:
    """`plan.tiles` for converters/plan/tiles.py, `plan` for its __init__; `quant.formats`, `cli.main`."""
    return ".".join(mounted(path).with_suffix("").parts).removeprefix("converters.").removesuffix(".__init__")


def mounted(path: Path) -> Path:
    """Where a module stands below `ggufx`."""
    return path.relative_to(SYSTEM.parent if path.is_relative_to(SYSTEM.parent) else ROOT)


def imported(path: Path) -> set[str]:
    """The modules of ours that a module imports, named likewise; what is not imported relatively keeps its `ggufx`."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = mounted(path).parent.parts
            target = Path(*base[: len(base) - node.level + 1], *(node.module or "").split("."))
            for name in (a.name for a in node.names):
                if target == Path() and name == "__version__":
                    continue
                whole = SYSTEM if target / name == Path("system") else ROOT / target / name
                found = whole if whole.with_suffix(".py").exists() or whole.is_dir() else ROOT / target
                out.add(module_name(found))
        elif isinstance(node, ast.ImportFrom):
            out.update({node.module} if node.module.split(".")[0] == "ggufx" else ())
        elif isinstance(node, ast.Import):
            out.update(a.name for a in node.names if a.name.split(".")[0] == "ggufx")
    return out


def room_of(module: str, rooms: Iterable[str]) -> str | None:
    """The narrowest of these rooms that a module is in."""
    return max((r for r in rooms if module == r or module.startswith(f"{r}.")), key=len, default=None)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path):
    room = room_of(module_name(path), LAW)
    allowed = LAW.get(room, ())  # converters/__init__.py is in no room
    for target in imported(path):
        assert room_of(target, {room_of(target, LAW) or "", *allowed}) in {room, *allowed}, f"{path} imports {target}"


def test_the_python_api_is_not_the_command_line():
    verbs = sorted((SYSTEM.parent / "verbs").glob("*.py"))
    assert verbs
    for path in (*verbs, SYSTEM.parent / "arguments.py"):
        assert not {target for target in imported(path) if room_of(target, ("cli",))}, path


def test_no_room_needs_itself():
    """Nor one that needs it, through any number of others: each names only rooms that stand before it."""
    for number, (room, needed) in enumerate(LAW.items()):
        above = list(LAW)[:number]
        for other in needed:
            assert room_of(other, above), f"{room} -> {other}"


def test_no_permission_is_idle():
    used = {room: set() for room in LAW}
    for path in modules():
        room = room_of(module_name(path), LAW)
        for target in imported(path) if room else ():
            used[room].add(room_of(target, {*LAW, *LAW[room]}))
    assert {room: set(allowed) for room, allowed in LAW.items()} == {room: found - {room} for room, found in used.items()}


@pytest.mark.parametrize("room", LAW)
def test_a_room_says_what_it_may_import(room: str):
    """In the last sentence of its text: "May import `errors` and `io`." or "Imports nothing of ours"."""
    folder = SYSTEM if room == "system" else ROOT / room.replace(".", "/")
    if not folder.is_dir():
        folder = ROOT / "converters" / room.replace(".", "/")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = " ".join(ast.get_docstring(ast.parse(path.read_text())).split())
    said = re.search(r"May import (.*?)[:;.](?= |$)", text)
    assert (said is not None) == bool(LAW[room]), path
    if said is None:
        assert "Imports nothing of ours" in text, path
    else:
        assert set(re.findall(r"`([\w.]+)`", said[1])) == set(LAW[room]), path


def test_packages_are_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"ggufx." + ".".join(mounted(p).parent.parts) for p in modules() if p.name == "__init__.py"}
    assert listed == {"ggufx", "ggufx.verbs", *found}


def test_the_wheel_holds_everything(tmp_path: Path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, ROOT]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [path for package in PACKAGES for path in (ROOT / package).rglob("*.json")]
    assert data
    for path in (*modules(), *data):
        assert f"ggufx/{mounted(path)}" in names
    assert "ggufx/py.typed" in names
    assert not any(name.startswith(("cli/", "converters/", "quant/", "tests/")) for name in names)


@pytest.mark.parametrize("arguments", [["--help"], ["archs"], ["types"], ["hf-to-gguf", "--help"], ["inspect", "/nonexistent"],
                                       ["modelfile", "/nonexistent"], ["push", "/nonexistent", "org/repo"],
                                       ["card", "/nonexistent"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]):
    code = ("import sys\nfrom ggufx.cli.main import app\n"
            f"try: app({arguments!r})\nexcept SystemExit: pass\n"
            "print([m for m in ('torch', 'numba', 'transformers', 'tokenizers', 'gguf') if m in sys.modules], file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


# What only `system` may know: which system this is, and the calls that are not the same on all of them.
OF_SYSTEMS = {"platform", "fcntl", "msvcrt", "winreg", "_winapi", "resource", "posix", "nt"}
OS_CALLS = {
    "copy_file_range", "fchmod", "fdatasync", "fork", "fstatvfs", "fsync", "getuid", "link", "lockf", "name", "open",
    "posix_fadvise", "posix_fallocate", "pread", "preadv", "pwrite", "pwritev", "register_at_fork", "rename", "replace",
    "sched_getaffinity", "sendfile", "statvfs", "uname",
}  # fmt: skip


def asks_the_system(path: Path) -> set[str]:
    """What a module imports or calls of `OF_SYSTEMS` and `OS_CALLS`; `sys.platform`, `platform`, and Windows' libraries."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names if a.name in OF_SYSTEMS)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module in {*OF_SYSTEMS, "os"}:
            found.update(f"{node.module}.{a.name}" for a in node.names if node.module != "os" or a.name in OS_CALLS)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whole = f"{node.value.id}.{node.attr}"
            if (node.value.id == "os" and node.attr in OS_CALLS) or whole in ("sys.platform", "ctypes.windll", "ctypes.WinDLL"):
                found.add(whole)
    return found


def test_one_module_asks_which_system_this_is():
    """But for the process that renders a template, which imports nothing of ours."""
    asking = {str(path.relative_to(ROOT)): names for path in modules()
              if SYSTEM not in path.parents and path.name != "sandbox.py" and (names := asks_the_system(path))}
    assert asking == {}
    assert asks_the_system(SYSTEM / "posix.py") > {"fcntl", "os.pwrite", "os.preadv", "sys.platform"}
    assert asks_the_system(SYSTEM / "windows.py") > {"msvcrt", "ctypes.WinDLL", "os.name"}


def test_both_systems_have_the_same_calls():
    """With the same arguments: `posix` says what each promises."""
    from ggufx import system
    from ggufx.system import posix, windows

    for name in system.__all__:
        one, two = getattr(posix, name), getattr(windows, name)
        assert callable(one) == callable(two)
        if callable(one):
            assert str(inspect.signature(one)) == str(inspect.signature(two)), name
            assert one.__doc__, name


def test_texts_are_utf_8_on_every_system():
    """No text is read or written in the encoding of the user's country."""
    bare = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            mode = next((a.value for a in node.args[1:2] if isinstance(a, ast.Constant)), "r")
            text = (isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "write_text")) or (
                isinstance(node.func, ast.Name) and node.func.id == "open" and "b" not in mode)
            if text and not any(k.arg == "encoding" for k in node.keywords):
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert bare == []
