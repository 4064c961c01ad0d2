"""Checkpoints in folders of a checkpoint: parts of a model that have a config.json and weights of their own.

Their tensors are taken for the model's, the folder in front of their names: `audio_tokenizer/encoder.conv1.weight`
(`Checkpoint.with_part`).
"""

from __future__ import annotations

from collections.abc import Collection

FOLDERS = ("audio_tokenizer", "speech_tokenizer")  # what models call theirs


def folder_of(name: str) -> str:
    """The folder in front of a tensor's or a file's name, `/` behind it; "" where it is the model's own."""
    folder, slash, _ = name.partition("/")
    return folder + slash if slash and folder in FOLDERS else ""


def names_below(names: Collection[str]) -> dict[str, set[str]]:
    """The folders among the names of a repository, with the names in each."""
    found = {folder: {name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")} for folder in FOLDERS}
    return {folder: inner for folder, inner in found.items() if "config.json" in inner}
