"""The bytes of an arm64 machine, emulated by qemu: the golden digests of every kernel in both directions, and tiny models
converted there and back, held against the same conversions on this machine.

    ./scripts/arm64                    # everything; writes benchmarks/results/arm64.json
    ./scripts/arm64 --only kernels
    ./scripts/arm64 --cpu neoverse-n1  # another CPU of qemu's

A Debian root is fetched by debootstrap and unpacked without being run; Python packages are wheels for aarch64. Both stay in
build/arm64, and so does the machine code of the kernels: the first run takes tens of minutes, the next ones a few.
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
from pathlib import Path

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
    for source in (*(ROOT / "src" / "ggufx").glob("*.py"), ROOT / "src" / "ggufx" / "system",
                   *(ROOT / name for name in ("cli", "converters", "quant"))):
        if not (ours / source.name).exists():
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


def worker(python: list[str], part: str, outputs: Path, *chosen: str) -> dict:
    """What scripts/arm64_worker.py says, run by this Python."""
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir()
    command = [*python, str(ROOT / "scripts" / "arm64_worker.py"), part, str(HOME), str(outputs), *chosen]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def differences(found: dict, expected: dict) -> list[str]:
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", choices=("kernels", "conversions"), help="one part, which is not recorded")
    arguments.add_argument("--formats", default="", help="kernels of these formats alone, Q4_K,Q6_K; not recorded")
    arguments.add_argument("--models", default="", help="conversions of these models alone; not recorded")
    arguments.add_argument("--outtypes", default="auto,f32,q8_0,q4_k_m,iq4_nl", help="file types of conversions [%(default)s]")
    arguments.add_argument("--cpu", default="max", help="the CPU that qemu emulates [max]")
    options = arguments.parse_args()
    prepare()
    setting = {"PYTHONPATH": str(SITE), "NUMBA_CACHE_DIR": str(HOME / "numba"), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0",
               "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(HOME), "NUMBA_NUM_THREADS": "1"}
    emulated = [QEMU, "-cpu", options.cpu, "-L", str(SYSTEM), *(p for k, v in setting.items() for p in ("-E", f"{k}={v}")),
                str(SYSTEM / "usr" / "bin" / "python3.11"), "-s"]
    report: dict = {"date": time.strftime("%Y-%m-%d"), "host": platform.machine(), "cpu": options.cpu,
                    "qemu": subprocess.run([QEMU, "--version"], capture_output=True, text=True).stdout.split("\n")[0],
                    "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                                             text=True).stdout.strip()}
    wrong: list[str] = []
    for part in ("kernels", "conversions"):
        if options.only not in (None, part):
            continue
        chosen = (options.formats,) if part == "kernels" else (options.models, options.outtypes)
        if part == "conversions":
            build_models()
            expected = worker([sys.executable], part, HOME / "here", *chosen)["digests"]
        begun = time.monotonic()
        found = worker(emulated, part, HOME / "there", *chosen)
        if part == "kernels":
            expected = found["expected"]
        part_wrong = differences(found["digests"], expected)
        wrong += part_wrong
        report |= {"machine": found["machine"], "versions": found["versions"]}
        report[part] = {"compared": len(expected), "differ": part_wrong, "seconds": round(time.monotonic() - begun)}
        print(f"{part}: {len(expected) - len(part_wrong)} of {len(expected)} digests equal, "
              f"{report[part]['seconds']} s on an emulated {found['machine']}", flush=True)
    for name in wrong:
        print(f"differs: {name}")
    if not (options.only or options.formats or options.models):
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
