"""The fuzzing targets over their seeds and simple damage of these; `scripts/fuzz` searches further."""

from __future__ import annotations

import random
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz"
CORPUS = Path(__file__).parent / "corpus"

if not SCRIPT.exists():
    pytest.skip("no scripts/fuzz: an unpacked source distribution", allow_module_level=True)


def load():
    loader = SourceFileLoader("fuzz_script", str(SCRIPT))
    module = module_from_spec(spec_from_loader("fuzz_script", loader))
    loader.exec_module(module)
    return module


fuzz = load()


def test_every_target_has_seeds_that_the_script_makes():
    made = fuzz.seeds()
    assert set(made) == set(fuzz.TARGETS)
    for target, files in made.items():
        assert {path.name for path in (CORPUS / target).iterdir()} >= set(files)
    assert (CORPUS / "gguf" / "rich").read_bytes() == made["gguf"]["rich"]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_seed_and_its_damage_raise_only_our_errors(path):
    """A target lets everything but our own errors pass through, so that returning is the proof."""
    target = fuzz.TARGETS[path.parent.name]
    seed = path.read_bytes()
    target(seed)
    chance = random.Random(path.name)
    for _ in range(60):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] ^= 1 << chance.randrange(8)
                case 1:
                    data[at:at + 8] = chance.choice([b"\xff" * 8, bytes(8), b"\0\0\0\0\0\0\0\x80", b"[" * 8])
                case 2:
                    del data[at:at + chance.randint(1, 8)]
                case 3:
                    data[at:at] = data[at:at + chance.randint(1, 16)]
            data = data or bytearray(b"x")
        target(bytes(data))


def test_an_error_that_is_not_ours_would_be_seen(monkeypatch):
    from ggufx.converters.io import gguf

    def fails(path):
        raise IndexError("as a careless reader would")

    monkeypatch.setattr(gguf, "read_gguf", fails)
    with pytest.raises(IndexError):
        fuzz.TARGETS["gguf"](b"GGUF")
