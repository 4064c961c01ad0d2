"""The bytes of an arm64 machine, emulated by qemu: the golden digests of every kernel in both directions, and tiny models
converted there and back, held against the same conversions on this machine.

    ./scripts/arm64                    # everything
    ./scripts/arm64 --missing          # what has no result yet
    ./scripts/arm64 --only kernels --formats Q4_K,Q6_K
    ./scripts/arm64 --cpu neoverse-n1  # another CPU of qemu's

A Debian root is fetched by debootstrap and unpacked without being run; Python packages are wheels for aarch64. Both stay in
build/arm64, and so does the machine code of the kernels: the first run takes an hour, the next ones a few minutes. Each kernel
and each model is written to benchmarks/results/arm64.json as soon as it is done, so a run may be ended and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import arm64_worker

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "arm64"
SYSTEM, SITE, MODELS = HOME / "root", HOME / "site", HOME / "models"
RESULT = ROOT / "benchmarks" / "results" / "arm64.json"
QEMU = "qemu-aarch64-static"
DEBIAN = "http://deb.debian.org/debian"
SYSTEM_PACKAGES = "python3.11,libpython3.11-stdlib,libstdc++6,libgomp1,libssl3,zlib1g"
PACKAGES = ("numpy", "numba", "llvmlite", "tokenizers", "safetensors", "pyyaml", "gguf", "rich", "typer", "huggingface_hub")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# Derived tensors (rotary divisors, decays, softplus, unit norms), every vocabulary kind, experts, a LoRA adapter.
ZOO = ("llama-llama3", "qwen3moe", "gemma4", "mamba2", "baichuan", "bert", "deepseek3", "rwkv7", "phi3-longrope")


def prepare() -> None:
    """The Debian root, the wheels, ggufx itself and the models, as far as they are not there."""
    for tool in (QEMU, "debootstrap", "dpkg-deb"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install qemu-user-static debootstrap")
    HOME.mkdir(parents=True, exist_ok=True)
    if not (HOME / "unpacked").exists():
        if not (SYSTEM / "debootstrap").is_dir():
            subprocess.run(["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", f"--include={SYSTEM_PACKAGES}",
                            "bookworm", str(SYSTEM), DEBIAN], check=True, stdout=sys.stderr)
        for package in sorted((SYSTEM / "var" / "cache" / "apt" / "archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(SYSTEM)], check=True)
        (HOME / "unpacked").touch()
    if not (HOME / "installed").exists():
        shutil.rmtree(SITE, ignore_errors=True)
        chosen = [part for name in PLATFORMS for part in ("--platform", name)]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(SITE), "--only-binary=:all:",
                        *chosen, "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3",
                        "--abi", "none", "-c", str(ROOT / "constraints.txt"), *PACKAGES], check=True)
        (HOME / "installed").touch()
    ours = SITE / "ggufx"
    ours.mkdir(exist_ok=True)
    for source in (*(ROOT / "src" / "ggufx").iterdir(), *(ROOT / name for name in ("cli", "converters", "quant"))):
        if source.name != "__pycache__" and not (ours / source.name).exists():
            (ours / source.name).symlink_to(source)


def build_models() -> None:
    """The models of the zoo as folders, and an adapter of the first."""
    sys.path.insert(0, str(ROOT / "tests"))
    from zoo.adapters import make_adapter
    from zoo.build import build

    for name in ZOO:
        if not (MODELS / name / "config.json").exists():
            shutil.rmtree(MODELS / name, ignore_errors=True)
            build(name, MODELS / name)
    if not (HOME / "adapter").exists():
        make_adapter(MODELS / ZOO[0], HOME / "adapter", {"target_modules": ["q_proj", "v_proj", "down_proj"]})


def worker(python: list[str], part: str, outputs: Path, names: Iterable[str], *more: str) -> Iterator[dict]:
    """What scripts/arm64_worker.py prints, run by this Python: a line for each of these kernels or models, as it is done."""
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir()
    command = [*python, str(ROOT / "scripts" / "arm64_worker.py"), part, str(HOME), str(outputs), ",".join(names), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        yield from map(json.loads, running.stdout or ())
    if running.returncode:
        sys.exit(f"{part}: the worker ended with {running.returncode}")


def chosen(names: Iterable[str], asked: str, recorded: dict, missing: bool) -> list[str]:
    """Of these kernels or models those that were asked for; in doubt all, or all without a result."""
    wanted = [name for name in names if not asked or name in asked.split(",")]
    return [name for name in wanted if not (missing and name in recorded)]


def versions() -> dict:
    def said(*command: str) -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split("\n")[0]

    commit = said("git", "rev-parse", "--short", "HEAD")
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit, "qemu": said(QEMU, "--version")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", choices=("kernels", "conversions"), help="one part")
    arguments.add_argument("--formats", default="", help="kernels of these formats alone: Q4_K,Q6_K")
    arguments.add_argument("--models", default="", help="conversions of these models alone")
    arguments.add_argument("--missing", action="store_true", help="what has no result yet")
    arguments.add_argument("--outtypes", default="auto,f32,q8_0,q4_k_m,iq4_nl", help="file types of conversions [%(default)s]")
    arguments.add_argument("--cpu", default="max", help="the CPU that qemu emulates [max]")
    options = arguments.parse_args()
    prepare()
    build_models()
    setting = {"PYTHONPATH": str(SITE), "NUMBA_CACHE_DIR": str(HOME / "numba"), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0",
               "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(HOME), "NUMBA_NUM_THREADS": "1"}
    emulated = [QEMU, "-cpu", options.cpu, "-L", str(SYSTEM), *(p for k, v in setting.items() for p in ("-E", f"{k}={v}")),
                str(SYSTEM / "usr" / "bin" / "python3.11"), "-s"]
    report = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    about, wrong = versions() | {"cpu": options.cpu, "host": platform.machine()}, []
    for part, all_names, asked, more in (("kernels", arm64_worker.kernel_names(), options.formats, ()),
                                         ("conversions", ZOO, options.models, (options.outtypes,))):
        names = chosen(all_names, asked, report.get(part, {}), options.missing)
        if options.only not in (None, part) or not names:
            continue
        if part == "kernels":
            expected = arm64_worker.recorded_digests()
        else:
            expected = {line["name"]: line["digests"] for line in worker([sys.executable], part, HOME / "here", names, *more)}
        for line in worker(emulated, part, HOME / "there", names, *more):
            found, right = line.pop("digests"), expected[line["name"]]
            right = {name: digest for name, digest in right.items() if name not in line["refused"]}
            differ = sorted(name for name in found.keys() | right.keys() if found.get(name) != right.get(name))
            wrong += differ
            name = line.pop("name")
            report.setdefault(part, {})[name] = about | line | {"compared": len(right), "differ": differ}
            print(f"{name}: {len(right) - len(differ)} of {len(right)} digests equal, {line['seconds']} s on an emulated "
                  f"{line['machine']}", flush=True)
            RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name in wrong:
        print(f"differs: {name}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
