"""The shape of the code: imports go one way, packages are complete, and light commands stay light."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cli", "converters", "quant")
# What a folder of ours may import from, beside itself.
ALLOWED = {
    "cli": {"cli", "converters", "quant", ""},
    "converters": {"converters", "quant", ""},
    "converters/arch": {"converters", "converters/arch", "converters/io"},
    "converters/io": {"converters/io", "converters/errors", "quant/formats"},
    "converters/sources": {"converters/sources", "converters/io", "converters/errors"},
    "quant": {"quant"},
}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def relative_imports(path: Path) -> list[str]:
    """Targets of relative imports as paths below the root; "" is the package root."""
    out = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.relative_to(ROOT).parent.parts
            parts = base[: len(base) - node.level + 1]
            target = "/".join((*parts, *(node.module or "").split("."))).strip("/")
            names = [f"{target}/{a.name}".strip("/") for a in node.names]
            out += [n if (ROOT / f"{n}.py").exists() or (ROOT / n).is_dir() else target for n in names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ggufx"):
            out.append(f"absolute import of {node.module}")
    return out


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path):
    folder = str(path.relative_to(ROOT).parent)
    rule = next(ALLOWED[f] for f in sorted(ALLOWED, key=len, reverse=True) if folder == f or folder.startswith(f"{f}/"))
    for target in relative_imports(path):
        assert any(target == a or (a and target.startswith(f"{a}/")) for a in rule), f"{path} imports {target}"


def test_packages_are_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"ggufx." + ".".join(p.parent.relative_to(ROOT).parts) for p in modules() if p.name == "__init__.py"}
    assert listed == {"ggufx", *found}


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
        assert f"ggufx/{path.relative_to(ROOT)}" in names
    assert "ggufx/py.typed" in names
    assert not any(name.startswith(("cli/", "converters/", "quant/", "tests/")) for name in names)


@pytest.mark.parametrize("arguments", [["--help"], ["archs"], ["types"], ["hf-to-gguf", "--help"], ["inspect", "/nonexistent"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]):
    code = ("import sys\nfrom ggufx.cli.main import app\n"
            f"try: app({arguments!r})\nexcept SystemExit: pass\n"
            "print([m for m in ('torch', 'numba', 'transformers', 'tokenizers', 'gguf') if m in sys.modules], file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
