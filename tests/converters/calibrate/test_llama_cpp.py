"""What llama.cpp computes otherwise than transformers: put into the model of transformers, the matrices are llama-imatrix's.

So these are all of the causes for which sums differ by more than float32 rounds (CONTRIBUTING.md has them with their figures).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ggufx.converters.calibrate import skeleton
from ggufx.converters.calibrate.imatrix import ImatrixOptions, make_imatrix
from ggufx.converters.calibrate.text import TextOptions
from ggufx.converters.io.imatrix_file import read_imatrix_file
from torch import nn
from zoo.matrices import CASES, CONTEXT, TEXT, text_of

CLOSE = 1e-5  # relative


def no_epsilon(model: Any) -> None:
    """The key of Qwen2-VL's is not read."""
    for norm in model.modules():
        if hasattr(norm, "variance_epsilon"):
            norm.variance_epsilon = 0.0


def one_epsilon(model: Any) -> None:
    """The norms of DeepSeek's latents have 1e-6 in transformers, whatever config.json says of the others."""
    for layer in model.layers:
        layer.self_attn.q_a_layernorm.variance_epsilon = model.config.rms_norm_eps
        layer.self_attn.kv_a_layernorm.variance_epsilon = model.config.rms_norm_eps


def unturned(model: Any) -> None:
    """Pairs behind the last of the heights and widths that lie between those of time, and are its own: 61 and 62 of 64 in what
    is published, whose position llama.cpp takes from a fourth axis, where it is 0."""
    sections = model.config.rope_parameters["mrope_section"]
    frequencies = model.rotary_emb.inv_freq
    for pair in range(len(frequencies)):
        if pair >= 3 * sections[pair % 3]:
            frequencies[pair] = 0.0


class Table(nn.Module):
    """GELU of float16, in float16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, found))


def looked_up(model: Any) -> None:
    for layer in model.layers:
        setattr(layer.mlp, "act_fn" if hasattr(layer.mlp, "act_fn") else "act", Table())


@pytest.fixture
def distances(zoo: Callable[[str], Path], recorded: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How far the sums of a case are from llama-imatrix's where the model is changed, by weight, relative."""
    def measure(name: str, change: Callable[[Any], None]) -> dict[str, np.ndarray]:
        class Changed(skeleton.Skeleton):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                change(self._base)

        monkeypatch.setattr(skeleton, "Skeleton", Changed)
        case = CASES[name]
        (tmp_path / TEXT).write_text(text_of(case))
        options = ImatrixOptions(TextOptions(context=CONTEXT, **dict(case.options)), device="cpu")
        make_imatrix(zoo(case.model), [tmp_path / TEXT], tmp_path / "out.gguf", options)
        made, theirs = read_imatrix_file(tmp_path / "out.gguf").entries, read_imatrix_file(recorded(name)).entries
        return {weight: np.abs(entry.sums / theirs[weight].sums - 1) for weight, entry in made.items()}

    return measure


@pytest.mark.parametrize(("name", "change"), [
    ("qwen2vl", no_epsilon), ("kimivl", one_epsilon), ("qwen3omni", unturned), ("qwen3vlmoe", unturned)])
def test_settings(name: str, change: Callable[[Any], None], distances):
    for weight, far in distances(name, change).items():
        assert far.max() <= CLOSE, weight


@pytest.mark.parametrize("name", ["gemma", "gemma2", "gemma3", "starcoder2"])
def test_gelu(name: str, distances):
    """In most columns of each weight: what lies between two values of float16 may be rounded to the other one."""
    for weight, far in distances(name, looked_up).items():
        assert np.median(far) <= CLOSE, weight
