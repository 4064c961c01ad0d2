"""Tiny multimodal models for their projectors, as rows of data: one module per family, as in converters/arch/projectors.

A `Tower` is a `Model` with a whole tower and the processor files beside it. llama.cpp's converter counts names by the
number of blocks, so a tower has at least four.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ggufx.converters.arch.projectors import FAMILIES

from ..build import build_row, write_weights
from ..fill import bell, bits
from ..models import MODELS
from ..models.rows import DECODER, Model, Shapes
from ..vocab import dump

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TEXT = DECODER | {"num_hidden_layers": 1}


@dataclass(frozen=True)
class Tower:
    """`processor`: preprocessor_config.json; `files`: other JSON files of the folder. `beside`: checkpoints in folders of it, each by
    config.json and shapes. `fault`: what llama.cpp's converter does
    wrong with it, and `drop`: key-values and tensors that differ for it; `hopeless`: it makes no file at all. `built_in`: sizes
    that it has of its own, as they would be for a tower as small. `alone`: the folder has no language model, which the zoo has none of. `lost`: beginnings
    of the names of tensors that neither file holds; `cropped`: those of which a file of others lacks a part. `runtime`: why the
    runtime is not asked. `size`: of the picture (width, height), or of the sound (samples,),
    that the runtime is given; `features`: what transformers makes of it, from the folder; `tolerance`: how far the runtime's may be from
    that, as a part of their deviation."""

    model: Model
    processor: dict[str, Any] = field(default_factory=lambda: HALF)
    beside: dict[str, tuple[dict[str, Any], Shapes]] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    drop: tuple[str, ...] = ()
    hopeless: bool = False
    built_in: dict[str, Any] = field(default_factory=dict)
    alone: bool = False
    lost: tuple[str, ...] = ()
    cropped: tuple[str, ...] = ()
    runtime: str = ""
    tokens: dict[str, str] = field(default_factory=dict)  # texts of tokens -> what they are called in this model
    size: tuple[int, ...] = (112, 112)
    features: Callable[[Path, np.ndarray], np.ndarray] | None = None
    tolerance: float = 2e-3

    @property
    def media(self) -> np.ndarray:
        """A picture, uint8 [height, width, 3], or a sound, float32 [samples]."""
        if len(self.size) == 1:
            return (0.1 * bell(self.name, self.size)).astype(np.float32)
        width, height = self.size
        return (bits(self.name, width * height * 3) >> np.uint64(56)).astype(np.uint8).reshape(height, width, 3)

    @property
    def name(self) -> str:
        return self.model.name


def loaded(folder: Path) -> Any:
    """The model that transformers makes of a folder, in float32."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    return getattr(transformers, name).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def pixels(folder: Path, picture: np.ndarray) -> Any:
    """float32 [1, 3, height, width], normalized as preprocessor_config.json says, rounded to float16 as the runtime's convolutions
    round them: that alone is a difference of up to 6e-3 in the features of a tiny model."""
    import torch

    said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    said = said.get("media_proc_cfg", said)
    mean, std = (np.array(said[key], np.float32) for key in ("image_mean", "image_std"))
    return torch.from_numpy(((picture.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float16).astype(np.float32))


def mel(folder: Path, sound: np.ndarray, padded: bool = True) -> Any:
    """float32 [1, mel bins, frames], as Whisper takes them; of 30 seconds if `padded`."""
    import torch
    from transformers import WhisperFeatureExtractor

    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))["audio_config"]["num_mel_bins"]
    made = WhisperFeatureExtractor(feature_size=said)(
        sound, sampling_rate=16000, return_tensors="np", **({} if padded else {"padding": False, "truncation": False}))
    return torch.from_numpy(made["input_features"])


def frames(folder: Path, picture: np.ndarray, merge: int = 2) -> tuple[Any, Any]:
    """What Qwen's towers take of a picture: patches of two equal frames, in windows of `merge` x `merge`; and the grid."""
    import torch

    x = pixels(folder, picture)[0]
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vision_config"]["patch_size"]
    height, width = x.shape[1] // said, x.shape[2] // said
    x = x.reshape(3, height // merge, merge, said, width // merge, merge, said).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.reshape(height * width, 3, 1, said, said).expand(-1, -1, 2, -1, -1).reshape(height * width, -1)
    return x, torch.tensor([[1, height, width]])


def seeing(name: str, text: str, config: dict[str, Any], tower: Shapes, *prefixes: str) -> Model:
    """The model `text` of the zoo, of a class that transformers lacks, with a whole tower in place of what stands for one."""
    row = MODELS[text]
    words = row.shapes
    assert words is not None
    return replace(row, name=name, config=row.config | config, dtype="bfloat16", v4=None, shapes=lambda config: tower | {
        key: shape for key, shape in words(config).items() if not key.startswith(prefixes)})


def both(prefix: str, names: dict[str, tuple[int, ...]], bias: bool = True) -> Shapes:
    """Weights of these shapes, with biases of as many rows."""
    return {f"{prefix}{name}.{part}": shape if part == "weight" else shape[:1]
            for name, shape in names.items() for part in (("weight", "bias") if bias else ("weight",))}


def blocks(prefix: str, names: dict[str, tuple[int, ...]], bias: bool = True, count: int = 4) -> Shapes:
    """`both` for each block of a tower; `prefix` holds its number as {v}."""
    return {key: shape for v in range(count) for key, shape in both(prefix.format(v=v), names, bias).items()}


def _towers() -> dict[str, Tower]:
    names = [module.__name__.rpartition(".")[2] for module in FAMILIES]
    found = {path.stem for path in Path(__file__).parent.glob("*.py")}
    rows = [row for name in names if name in found for row in import_module(f".{name}", __name__).ROWS]
    return {row.name: row for row in rows}


def build_tower(row: Tower, folder: Path, seed: int = 0) -> Path:
    """Write the folder of a row, as `build`."""
    build_row(row.model, folder, seed)
    for name, content in {"preprocessor_config.json": row.processor, **row.files}.items():
        if content:
            dump(folder / name, content)
    for name, (config, shapes) in row.beside.items():
        (folder / name).mkdir()
        dump(folder / name / "config.json", config)
        write_weights(folder / name / "model.safetensors", row.model, shapes, f"{row.name}@{seed}/{name}")
    for name in ("tokenizer.json", "tokenizer_config.json") if row.tokens else ():
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in row.tokens.items():
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


TOWERS = _towers()
