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
from zoo.matrices import CASES, TEXT, text_of

CLOSE = 1e-5  # relative
LOOKED_UP = ("gemma", "gemma2", "gemma3", "gemma4-vl", "gemma4-moe", "embeddinggemma", "starcoder2", "starcoder", "gpt2",
             "phi2", "bloom", "falcon", "gptneox", "mpt")


def no_epsilon(model: Any) -> None:
    """The key of Qwen2-VL's is not read."""
    for norm in model.modules():
        if hasattr(norm, "variance_epsilon"):
            norm.variance_epsilon = 0.0


def one_epsilon(model: Any) -> None:
    """The norms of latents have 1e-6 in transformers, whatever config.json says of the others."""
    for layer in model.layers:
        for name in ("q_a_layernorm", "kv_a_layernorm"):
            if (norm := getattr(layer.self_attn, name, None)) is not None:
                norm.variance_epsilon = model.config.rms_norm_eps


def unturned(model: Any) -> None:
    """Pairs behind the last of the heights and widths that lie between those of time, and are its own: 61 and 62 of 64 in what
    is published, whose position llama.cpp takes from a fourth axis, where it is 0."""
    sections = model.config.rope_parameters["mrope_section"]
    frequencies = model.rotary_emb.inv_freq
    for pair in range(len(frequencies)):
        if pair >= 3 * sections[pair % 3]:
            frequencies[pair] = 0.0


def unturned_last(model: Any) -> None:
    """The last quarter of Hunyuan-VL's pairs, whose position llama.cpp takes from a fourth axis, too."""
    frequencies = model.rotary_emb.inv_freq
    frequencies[3 * len(frequencies) // 4 :] = 0.0


class Table(nn.Module):
    """GELU of float16, in float16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, found))


def looked_up(model: Any) -> None:
    for module in list(model.modules()):
        for name, part in module.named_children():
            if "GELU" in type(part).__name__.upper():
                setattr(module, name, Table())


def spread_of_a_sample(model: Any) -> None:
    """Gemma 3n's threshold lies so many standard deviations above the mean, over n - 1 values in llama.cpp."""
    looked_up(model)
    for layer in model.layers:
        mlp = layer.mlp
        if mlp.activation_sparsity > 0:
            above = torch.distributions.Normal(0, 1).icdf(torch.tensor(mlp.activation_sparsity))
            mlp._gaussian_topk = lambda x, above=above: nn.functional.relu(
                x - x.mean(-1, keepdim=True) - above * x.std(-1, keepdim=True))


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far a is from b; 0 where both are 0."""
    return np.abs(a - b) / np.where(a == b, 1, b)


Sums = dict[str, np.ndarray]


@pytest.fixture
def sums(zoo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The sums of a case where the model is changed, by weight."""
    def made(name: str, change: Callable[[Any], None]) -> Sums:
        class Changed(skeleton.Skeleton):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                change(self._base)

        with monkeypatch.context() as patch:
            patch.setattr(skeleton, "Skeleton", Changed)
            case = CASES[name]
            (tmp_path / TEXT).write_text(text_of(case))
            options = ImatrixOptions(TextOptions(context=case.context, **dict(case.options)), device="cpu", force=True)
            make_imatrix(zoo(case.model), [tmp_path / TEXT], tmp_path / "out.gguf", options)
        return sums_of(tmp_path / "out.gguf")

    return made


def sums_of(path: Path) -> Sums:
    return {weight: entry.sums for weight, entry in read_imatrix_file(path).entries.items()}


@pytest.fixture
def distances(sums: Callable[..., Sums], recorded: Callable[[str], Path]):
    """How far the sums of a case are from llama-imatrix's where the model is changed, by weight, relative."""
    def measure(name: str, change: Callable[[Any], None]) -> Sums:
        theirs = sums_of(recorded(name))
        return {weight: relative(ours, theirs[weight]) for weight, ours in sums(name, change).items()}

    return measure


@pytest.mark.parametrize(("name", "change"), [
    ("qwen2vl", no_epsilon), ("kimivl", one_epsilon), ("minicpm3", one_epsilon), ("glm4lite", one_epsilon),
    ("glmdsa-shared", one_epsilon), ("hunyuan-vl", unturned_last), ("qwen3omni", unturned), ("qwen3vlmoe", unturned)])
def test_settings(name: str, change: Callable[[Any], None], distances):
    for weight, far in distances(name, change).items():
        assert far.max() <= CLOSE, weight


@pytest.mark.parametrize(("name", "change"), [
    *((name, looked_up) for name in LOOKED_UP), ("gemma3n-vl", spread_of_a_sample)])
def test_gelu(name: str, change: Callable[[Any], None], distances):
    """In most columns of each weight: what lies between two values of float16 may be rounded to the other one."""
    for weight, far in distances(name, change).items():
        assert np.median(far) <= CLOSE, weight


def nudge(seed: int) -> Callable[[Any], None]:
    """Moves what goes into the first layer by about a unit in the last place."""
    def change(model: Any) -> None:
        chance = torch.Generator().manual_seed(seed)
        model.layers[0].register_forward_pre_hook(
            lambda layer, args: (args[0] * (1 + 2**-24 * torch.randn(args[0].shape, generator=chance)), *args[1:]))

    return change


@pytest.mark.parametrize("name", ["qwen35", "qwen3next", "jamba", "exaone-moe", "nemotron", "kimi-linear"])
def test_rounding(name: str, sums, recorded):
    """Sums that are further than CLOSE apart by nothing but float32: where states move by a unit in the last place, ours move
    about as far."""
    ours, theirs = sums(name, one_epsilon if name == "kimi-linear" else lambda model: None), sums_of(recorded(name))
    moved = [sums(name, nudge(seed)) for seed in range(3)]
    for weight, values in ours.items():
        far = relative(values, theirs[weight]).max()
        alone = max(relative(other[weight], values).max() for other in moved)
        assert far <= max(CLOSE, 3 * alone), weight
