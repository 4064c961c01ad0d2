"""What transformers makes of a picture or a sound: how its classes are asked, by what they take. All are float32 [tokens, width]."""

from pathlib import Path
from typing import Any

import numpy as np

from . import frames, loaded, mel, pixels


def round_as_ggml(*convolutions: Any) -> None:
    """Let convolutions round their weights, and what they take, to float16, as the runtime's do."""
    for module in convolutions:
        module.weight.data = module.weight.data.half().float()
        module.register_forward_pre_hook(lambda _, given: (given[0].half().float(),))


def rows(made: Any) -> np.ndarray:
    """The features of all parts, one behind the other."""
    import torch

    made = getattr(made, "pooler_output", made)
    parts = made if isinstance(made, (tuple, list)) else (made,)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).numpy()


def seen(model: Any, **given: Any) -> np.ndarray:
    """What a class's own method makes of pictures in the form that it takes."""
    import torch

    with torch.inference_mode():
        return rows(model.get_image_features(**given))


def patches(folder: Path, picture: np.ndarray, side: int, last: bool = False) -> tuple[Any, int, int]:
    """Rows of patches, each of its colours one behind the other, or with the colours `last`; how many there are down and across."""
    x = pixels(folder, picture)[0]
    height, width = x.shape[1] // side, x.shape[2] // side
    x = x.reshape(3, height, side, width, side).permute(*((1, 3, 2, 4, 0) if last else (1, 3, 0, 2, 4)))
    return x.reshape(height * width, -1), height, width


def whole(folder: Path, picture: np.ndarray) -> np.ndarray:
    """Of a class that takes pictures as they are."""
    return seen(loaded(folder), pixel_values=pixels(folder, picture))


def windows(folder: Path, picture: np.ndarray) -> np.ndarray:
    """Of a class that takes patches of two frames in the order of its merger."""
    given, grid = frames(folder, picture)
    return seen(loaded(folder), pixel_values=given, image_grid_thw=grid)


def heard(folder: Path, samples: np.ndarray, padded: bool = True) -> np.ndarray:
    """Of a class that takes mel frames, and which of them are sound."""
    import torch

    given = mel(folder, samples, padded)
    with torch.inference_mode():
        return rows(loaded(folder).get_audio_features(given, torch.ones(1, given.shape[-1], dtype=torch.long)))
