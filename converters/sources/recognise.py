"""What a path is, where it is not what a command takes: a table of things, how each is recognised, and the way out.

A folder is recognised by the names in it (fnmatch patterns), a file by its first bytes or its name, a GGUF file by its
key-values and tensor names. The first row that fits counts. Nothing is opened beyond a file's first bytes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from ..errors import GgufxError, InputError, StorageError, UnsupportedError, UsageError
from ..io.files import open_regular, printable, read_at, refuse_stand_in
from ..io.gguf import split_names
from ..io.ranges import exists, names_in

Wanted = Literal["checkpoint", "config", "adapter", "gguf"]
WANTED: dict[Wanted, str] = {
    "checkpoint": "a model's checkpoint", "config": "the base model's folder (its config.json is enough)",
    "adapter": "a PEFT adapter's folder", "gguf": "a GGUF file",
}
START_BYTES = 512

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
            "model-*.safetensors")
_ORIGINAL = ("consolidated.[0-9]*.pth", "consolidated*.safetensors")


@dataclass(frozen=True, slots=True)
class Thing:
    """One kind of thing. A folder has an entry of `has` and one of `also`, none of `without`; a file begins with one of
    `start` (and `at` that byte), or is called as one of `named`.

    In `way`, {path} is the path, {folder} the folder around it, {entry} the entry of `has` that was found, {member} a
    reference to that entry.
    """

    name: str
    way: str
    takes: tuple[Wanted, ...] = ()  # the commands that take it
    has: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    start: tuple[bytes, ...] = ()
    at: int = 0
    named: tuple[str, ...] = ()

    def entry(self, names: Collection[str]) -> str | None:
        """The entry of a folder by which it is this thing."""
        if _first(names, self.without) or (self.also and not _first(names, self.also)):
            return None
        return _first(names, self.has)


_ANY_WEIGHTS = (*_WEIGHTS, "*.safetensors", "pytorch_model*.bin", "model*.bin")
_NEMO = "Export it with NeMo's own script for the model, convert_MODEL_nemo_to_hf.py, and convert the result."
_MEGATRON = "Export it to Hugging Face's format with Megatron-Bridge."
_FSDP = "Join it with `accelerate merge-weights {} OUT`, put config.json and the tokenizer files beside it, and convert OUT."
_ZERO = ("Join it with its own script, `python {}/zero_to_fp32.py {} OUT --safe_serialization`, put config.json and the "
         "tokenizer files beside it, and convert OUT.")
_ADAPTER_WAY = "Convert it with `ggufx lora-to-gguf {path}`, or merge it into its base model with `ggufx merge-lora {path}`."
FOLDERS = (
    Thing("a model's checkpoint", "Convert it with `ggufx hf-to-gguf {path}`.", ("checkpoint", "config"),
          has=_WEIGHTS, also=("config.json",)),
    Thing("an adapter of MLX of before mlx-lm 0.14", "Fuse it with `mlx_lm.fuse --model BASE --adapter-path {path} --save-path "
          "OUT --dequantize`, and convert OUT with hf-to-gguf.", has=("adapters.npz",), without=("adapters.safetensors",)),
    Thing("a PEFT adapter", _ADAPTER_WAY, ("adapter",), has=("adapter_config.json", "adapter_model.*"),
          without=("adapters.*",)),
    Thing("an adapter of mlx-lm", _ADAPTER_WAY, ("adapter",), has=("adapters.safetensors",)),
    Thing("a model in its maker's own layout (Meta, Mistral)", "Convert it with `ggufx hf-to-gguf {path}`.", ("checkpoint",),
          has=_ORIGINAL, also=("params.json",)),
    Thing("a repository whose original checkpoint alone is here, one level down", "Give {member}.", has=("original",),
          without=(*_WEIGHTS, "*.safetensors", "*.bin", "*.gguf")),
    Thing("a model in its maker's own layout, without params.json", "Put params.json of the same download beside the weights: "
          "it holds the model's settings.", has=_ORIGINAL),
    Thing("the settings of a model in its maker's own layout, without its weights", "Put the weights (consolidated.*) of the "
          "same download beside params.json.", has=("params.json",), also=("tokenizer.model*", "tekken.json", "checklist.chk"),
          without=("config.json", *_ANY_WEIGHTS, *_ORIGINAL)),
    Thing("a Megatron checkpoint", _MEGATRON, has=("common.pt",), also=("*.distcp",)),
    Thing("a NeMo checkpoint", "Export it with NeMo: `llm.export_ckpt('{path}', target='hf', output_path='OUT')` of "
          "nemo.collections, and convert OUT.", has=("context",), also=("weights",)),
    Thing("a folder with an archive of NeMo ({entry})", _NEMO, has=("*.nemo",), without=_ANY_WEIGHTS),
    Thing("a NeMo checkpoint unpacked", _NEMO, has=("model_config.yaml",), also=("model_weights", "model_weights.ckpt")),
    Thing("a sharded FSDP checkpoint", _FSDP.format("{path}"), has=("*.distcp",), without=("iter_*",)),
    Thing("a folder with a sharded FSDP checkpoint", _FSDP.format("{member}"), has=("pytorch_model_fsdp_*",)),
    Thing("a training state of one file per rank (verl)", "Join it with `python -m verl.model_merger merge --backend fsdp "
          "--local_dir {path} --target_dir OUT`, and convert OUT.", has=("model_world_size_*_rank_*.pt",)),
    Thing("the folder of a run of verl", "Join a step of it with `python -m verl.model_merger merge --backend fsdp --local_dir "
          "{member}/actor --target_dir OUT`, and convert OUT.",
          has=("global_step_[0-9]*",), also=("latest_checkpointed_iteration.txt",)),
    Thing("a step of a run of verl", "Join it with `python -m verl.model_merger merge --backend fsdp --local_dir {member} "
          "--target_dir OUT`, and convert OUT.", has=("actor",), also=("data.pt", "critic")),
    Thing("a checkpoint of GPT-NeoX, a file per layer", "Export it with gpt-neox: `python tools/ckpts/convert_neox_to_hf.py "
          "--input_dir {path} --config_file CONFIG.yml --output_dir OUT`, and convert OUT.",
          has=("layer_[0-9]*-model_[0-9]*-model_states.pt",)),
    Thing("a DeepSpeed ZeRO checkpoint", _ZERO.format(*["{path}"] * 2), has=("zero_to_fp32.py", "global_step*"),
          without=_WEIGHTS),
    Thing("a step of a DeepSpeed ZeRO checkpoint", _ZERO.format(*["{folder}"] * 2), has=("*zero_pp_rank_*",), without=_WEIGHTS),
    Thing("a Megatron checkpoint", _MEGATRON,
          has=("mp_rank_*", "iter_*", "latest_checkpointed_iteration.txt")),
    Thing("the folder of a training run", "Give one of the checkpoints in it: {member}.", has=("checkpoint-[0-9]*",),
          without=("config.json",)),
    Thing("a folder of sentence-transformers with its model one level down", "Give {member}.",
          has=("0_Transformer", "0_*"), also=("modules.json",), without=("config.json",)),
    Thing("a pipeline of diffusers", "ggufx converts language models.", has=("model_index.json",)),
    Thing("a folder of GGUF files", "Give one of them, as {member}: gguf-to-hf, quantize, verify and inspect take it.",
          has=("*.gguf",), without=_WEIGHTS),
    Thing("a checkpoint of Flax", "Save it again with transformers 4: `from_pretrained('{path}', from_flax=True)"
          ".save_pretrained('OUT')`, and convert OUT.", has=("flax_model*.msgpack",), without=_ANY_WEIGHTS),
    Thing("a checkpoint of TensorFlow ({entry})", "Save it again with transformers 4: `from_pretrained('{path}', from_tf=True)"
          ".save_pretrained('OUT')`, and convert OUT.", has=("tf_model.h5", "*.ckpt.index"), without=_ANY_WEIGHTS),
    Thing("a checkpoint of MLX from before safetensors", "Save it again: `mx.save_safetensors('{path}/model.safetensors', "
          "mx.load('{member}'))` with mlx.core as mx, and convert it.", has=("weights.npz",), without=_ANY_WEIGHTS),
    Thing("a checkpoint of JAX (Orbax)", "Export it to safetensors with the program that it was made with.",
          has=("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"), without=_ANY_WEIGHTS),
    Thing("a model as {entry} takes it, no longer a checkpoint", "Convert the checkpoint that it was made of.",
          has=("mlc-chat-config.json", "rank[0-9]*.engine", "genai_config.json", "llm_config.json"), without=_WEIGHTS),
    Thing("a checkpoint of LitGPT", "Convert it back with `litgpt convert_from_litgpt {path} OUT`, save OUT/model.pth as "
          "pytorch_model.bin beside config.json and the tokenizer files, and convert that folder.",
          has=("lit_model*.pth",), without=_WEIGHTS),
    Thing("a checkpoint with weights of another framework ({entry})", "Download or save it as safetensors: "
          "`save_pretrained` of transformers.",
          has=("*.onnx", "onnx", "openvino_model*", "rust_model.ot", "*.mlpackage", "*.tflite", "*.pdparams",
               "*.weights.h5"), without=_ANY_WEIGHTS),
    Thing("the state of a training run without the model ({entry})", "Give the folder that the model was saved to, another "
          "checkpoint of the run, or save it with `save_pretrained`.",
          has=("trainer_state.json", "optimizer.pt", "optimizer.bin", "scheduler.pt"),
          without=(*_ANY_WEIGHTS, "*.pth", "model*.pt")),
    Thing("a folder with weights under a name that no program looks for ({entry})", "Call it pytorch_model.bin if it holds the "
          "weights alone; out of a state of training take them with torch.load and torch.save.",
          has=("*.pt", "*.pth", "*.ckpt"), also=("config.json",), without=_ANY_WEIGHTS),
    Thing("a folder with a state of training, without config.json ({entry})", "Save the model with `save_pretrained`.",
          has=("*.pt", "*.pth", "*.ckpt"), without=(*_WEIGHTS, "config.json")),
)  # fmt: skip
_OLD_GGML = ("Convert the original checkpoint; if it is lost, llama.cpp's convert_llama_ggml_to_gguf.py makes a GGUF file of "
             "Llama models.")
_FOLDER_OF_IT = "Give the folder that it lies in: {folder}."
FILES = (
    Thing("a piece of a file that was cut for upload", "Join all pieces in order, `cat PIECES > model.gguf`, and give the "
          "result.", named=("*.gguf-split-*", "*.gguf.part*", "*.gguf.split*", "*.gguf.[0-9][0-9]*", "*.gguf.[a-z][a-z]")),
    Thing("a GGUF file", "`ggufx gguf-to-hf {path} OUT/` makes a checkpoint of it, `ggufx quantize` another type.", ("gguf",),
          start=(b"GGUF",)),
    Thing("a GGML file from before GGUF", _OLD_GGML, start=(b"lmgg", b"fmgg", b"tjgg", b"algg")),
    Thing("a safetensors file", _FOLDER_OF_IT, start=(b"{",), at=8, named=("*.safetensors",)),
    Thing("an importance matrix", "Pass it as --imatrix to hf-to-gguf or quantize.", named=("*imatrix*.dat", "*.imatrix")),
    Thing("an index of weights", _FOLDER_OF_IT, named=("*.index.json",)),
    Thing("a JSON file", _FOLDER_OF_IT, start=(b"{",), named=("*.json",)),
    Thing("an archive of NeMo", _NEMO, named=("*.nemo",)),
    Thing("weights of another framework", "Download or save the model as safetensors: `save_pretrained` of transformers.",
          start=(b"\x89HDF",), named=("*.onnx", "*.h5", "*.msgpack", "*.npz", "*.tflite", "*.ot", "*.mlmodel")),
    Thing("a file of PyTorch", _FOLDER_OF_IT, start=(b"\x80\x02",), named=("*.bin", "*.pt", "*.pth", "*.ckpt")),
    Thing("a llamafile", "It is a zip archive: take the GGUF file out with `unzip -j {path} '*.gguf'`.",
          start=(b"MZqFpD",)),
    Thing("an archive", "Unpack it.",
          start=(b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"7z\xbc\xaf", b"BZh"),
          named=("*.tar", "*.zip", "*.tgz", "*.gz", "*.zst", "*.7z", "*.rar")),
    Thing("Ollama's Modelfile", "Give the file or folder that its FROM line names.", start=(b"FROM ",), named=("Modelfile*",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufThing:
    """One kind of GGUF file that is no model of text: by general.type, general.architecture or a prefix of tensors."""

    name: str
    way: str
    type: str = ""
    architecture: str = ""
    tensors: tuple[str, ...] = ()

    def seen(self, kind: str, architecture: str, names: Iterable[str]) -> bool:
        return (self.type != "" and kind == self.type) or (self.architecture != "" and architecture == self.architecture) \
            or (bool(self.tensors) and any(name.startswith(self.tensors) for name in names))


GGUFS = (
    GgufThing("an importance matrix", "Pass it as --imatrix to hf-to-gguf or quantize.", type="imatrix"),
    GgufThing("a control vector", "llama.cpp takes it as it is (--control-vector).", architecture="controlvector"),
    GgufThing("a LoRA adapter", "llama.cpp takes it beside its base model (--lora). Its type is chosen when it is made: "
              "`ggufx lora-to-gguf --outtype`; `ggufx gguf-to-hf` makes a PEFT adapter of it.", type="adapter"),
    GgufThing("a multimodal projector: the vision or audio part of a model", "Give the GGUF file of the text model beside it; "
              "gguf-to-hf takes this one as --mmproj.",
              type="mmproj", architecture="clip"),
    GgufThing("a model with its vision or audio tensors in the same file, as Ollama makes them",
              "Take the text model from a repository that keeps the projector (mmproj) apart, as llama.cpp does.",
              tensors=("v.", "a.", "mm.")),
)  # fmt: skip


def recognise(path: Path) -> list[tuple[Thing, str]]:
    """What lies at an existing path, the likeliest first, each with the entry of the folder that shows it.

    Raises `InputError` and `StorageError` as `open_regular`.
    """
    if path.is_dir():
        try:
            return recognise_names({*(entry.name for entry in path.iterdir()), *names_in(path)})
        except OSError as error:
            raise StorageError(f"cannot be listed: {error.strerror}", file=path) from error
    with open_regular(path) as (file, size):
        start = read_at(file, 0, min(size, START_BYTES), path)
    refuse_stand_in(start, path)
    name = path.name.lower()
    return [(thing, path.name) for thing in FILES
            if start.startswith(thing.start, thing.at) or any(fnmatchcase(name, pattern) for pattern in thing.named)]


def recognise_names(names: Collection[str]) -> list[tuple[Thing, str]]:
    """The same for the names in a folder, or in a repository."""
    return [(thing, entry) for thing in FOLDERS if (entry := thing.entry(names)) is not None]


def expect(path: Path, wanted: Wanted) -> None:
    """Raises `UsageError` if the path is something that another command takes, or lies in it, `UnsupportedError` if it is
    something that none does; each names the thing and the way out. `InputError` if there is nothing, or nothing known."""
    if not exists(path):
        raise InputError(f"no such {'file' if wanted == 'gguf' else 'folder'}", file=path)
    if wanted == "config" and os.path.isfile(path / "config.json"):
        return
    found = recognise(path)
    if any(wanted in thing.takes for thing, _ in found):
        return
    if found:
        raise refusal(*found[0], path, wanted)
    if inside := _inside(path, wanted):
        raise UsageError(f"is not {WANTED[wanted]}, but has one in it", file=path, hint=f"Give {' or '.join(inside)}.")
    if path.is_dir() == (wanted == "gguf"):
        raise InputError(f"{WANTED[wanted]} is needed, this is a {'folder' if wanted == 'gguf' else 'file'}", file=path)


def _inside(path: Path, wanted: Wanted) -> list[str]:
    """The folders in a folder that the command takes: named adapters, say, which peft saves each in its own. Three at most."""
    if not path.is_dir() or wanted in ("config", "gguf"):
        return []
    inner = [entry for entry in sorted(path.iterdir()) if entry.is_dir()]
    return [str(entry) for entry in inner if any(wanted in thing.takes for thing, _ in recognise(entry))][:3]


def refusal(thing: Thing, entry: str, path: Path, wanted: Wanted) -> GgufxError:
    """The error that says what was found in place of what is wanted."""
    kind = UsageError if thing.takes or thing.way == _FOLDER_OF_IT else UnsupportedError
    name, way = told(thing, entry, str(path), str(path / entry))
    return kind(f"is {name}; {WANTED[wanted]} is needed", file=path, hint=way)


def told(thing: Thing, entry: str, path: str, member: str) -> tuple[str, str]:
    """What the thing is, and what to do with it; `member`: how the entry is referred to, below a folder or on the Hub."""
    words = {"path": path, "folder": str(Path(path).parent), "entry": printable(entry), "member": member}
    return thing.name.format_map(words), thing.way.format_map(words)


def expect_model(path: Path, keys: Mapping[str, Any], tensors: Iterable[str], projector: bool = False) -> None:
    """Raises `UnsupportedError` if a GGUF file is no model of text; `projector`: nor the projector of one. `keys`: its
    key-values as plain values."""
    kind, architecture = (str(keys.get(f"general.{key}", "")) for key in ("type", "architecture"))
    for thing in GGUFS:
        if thing.seen(kind, architecture, tensors) and not (projector and thing.type == "mmproj"):
            raise UnsupportedError(f"is {thing.name}; a model is needed", file=path, hint=thing.way)


def _first(names: Collection[str], patterns: tuple[str, ...]) -> str | None:
    """A name that fits the first pattern that any fits: the last by number, as of the checkpoints of a run; of a split GGUF
    file the first part."""
    for pattern in patterns:
        if fitting := [name for name in names if fnmatchcase(name, pattern)]:
            last = max(fitting, key=lambda name: (len(name), name))
            return next((part for part in split_names(Path(last)) if part in names), last)
    return None
