"""The update of one task, which a checkpoint holds beside its weights (Jina v3), as a PEFT adapter.

`NAME.parametrizations.weight.0.lora_A` is [tasks, r, in], `lora_B` [tasks, out, r]; of embeddings they are turned:
[tasks, rows, r] and [tasks, r, width].
Source: `jinaai/xlm-roberta-flash-implementation` on the Hub; llama.cpp `conversion/bert.py`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...errors import GgufxError, InputError, UnsupportedError, raise_all
from ...io.files import printable
from ...io.tensors import StoredTensor
from ...notes import Note
from ..hf_folder import Checkpoint, open_checkpoint
from .mlx_adapter import PREFIX, turned

_FACTOR = re.compile(r"(?P<module>.+)\.parametrizations\.weight\.0\.lora_(?P<side>[AB])")
_TABLE = "word_embeddings"
_NOWHERE = {"token_type_embeddings": "updates that the runtime does not apply are left out",
            "pooler.dense": "updates of a pooler, which GGUF has no place for, are left out"}  # by how the module's name ends


class TaskAdapter(NamedTuple):
    """`prompt`: what stands before each text of the task, where config.json says so."""

    checkpoint: Checkpoint
    prompt: str | None


def open_task(folder: str | Path, task: str, hf_class: str | None = None) -> TaskAdapter:
    """The factors of `task` under PEFT's names. UnsupportedError for a checkpoint without tasks, InputError for a task that it
    has not, or factors that are not one per task."""
    model = open_checkpoint(folder, hf_class)
    tasks, prompts = model.config.get("lora_adaptations"), model.config.get("task_instructions")
    if not isinstance(tasks, list) or not all(isinstance(name, str) for name in tasks):
        raise UnsupportedError("holds no updates of tasks (config.json: lora_adaptations)", file=model.folder)
    if task not in tasks:
        raise InputError("no task of this model", file=model.folder, expected=", ".join(map(printable, tasks)), found=task)
    problems: list[GgufxError] = []
    tensors: dict[str, StoredTensor] = {}
    notes: list[str] = []
    for stored in model.tensors.values():
        match = _FACTOR.fullmatch(stored.name)
        if match is None:
            continue
        module, side = match["module"], match["side"]
        if why := next((why for name, why in _NOWHERE.items() if module.endswith(name)), None):
            notes.append(Note(why, module))
            continue
        if len(stored.shape) != 3 or stored.shape[0] != len(tasks):
            problems.append(InputError("not a factor for each task", file=stored.file, tensor=stored.name,
                                       expected=f"[{len(tasks)}, .., ..]", found=list(stored.shape)))
            continue
        each = stored.nbytes // len(tasks)
        one = replace(stored, shape=stored.shape[1:], offset=stored.offset + tasks.index(task) * each, nbytes=each)
        if module.endswith(_TABLE):
            one = turned(one, f"{PREFIX}{module}.lora_embedding_{side}", "")
        else:
            one = replace(one, name=f"{PREFIX}{module}.lora_{side}.weight")
        tensors[one.name] = one
    raise_all(problems)
    config = {"peft_type": "LORA", "lora_alpha": model.config.get("lora_alpha", 1), "bias": "none"}
    prompt = prompts.get(task) if isinstance(prompts, dict) else None
    return TaskAdapter(replace(model, config=config, tensors=tensors, notes=[*model.notes, *notes]),
                       prompt if isinstance(prompt, str) else None)
