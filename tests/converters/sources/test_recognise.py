"""What people give in place of what a command takes: one sentence that names it, and the way out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError, InputError, ManyErrors, UnsupportedError, UsageError
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import ValueType, array, string, u32
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.sources.hf_folder import config_only, open_adapter, open_checkpoint
from ggufx.converters.sources.recognise import expect

import ggufx

FOLDERS = {  # names in the folder -> words of the error's message, words of its hint
    "PEFT": ("adapter_config.json adapter_model.safetensors", "a PEFT adapter", "ggufx lora-to-gguf"),
    "PEFT beside a config": ("config.json adapter_config.json adapter_model.bin", "a PEFT adapter", "lora-to-gguf"),
    "MLX adapter": ("adapter_config.json adapters.npz", "an adapter of MLX", "mlx_lm.fuse --model BASE --adapter-path"),
    "Meta": ("consolidated.00.pth consolidated.01.pth tokenizer.model", "own layout, without params.json", "Put params.json"),
    "original/": ("original README.md", "one level down", "/original."),
    "Mistral": ("consolidated.safetensors tekken.json", "own layout, without params.json", "Put params.json"),
    "FSDP": ("pytorch_model_fsdp_0 optimizer_0 config.json", "with a sharded FSDP checkpoint", "/pytorch_model_fsdp_0 OUT`"),
    "FSDP inside": (".metadata __0_0.distcp __1_0.distcp", "a sharded FSDP checkpoint", "accelerate merge-weights"),
    "verl": ("model_world_size_2_rank_0.pt fsdp_config.json", "one file per rank (verl)", "verl.model_merger"),
    "ZeRO": ("zero_to_fp32.py latest global_step10 config.json", "a DeepSpeed ZeRO checkpoint",
             "python {x}/zero_to_fp32.py {x} OUT"),
    "ZeRO inside": ("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt mp_rank_00_model_states.pt", "ZeRO",
                    "python {top}/zero_to_fp32.py {top} OUT"),
    "Megatron": ("iter_0000010 latest_checkpointed_iteration.txt", "a Megatron checkpoint", "Megatron-Bridge"),
    "a run": ("checkpoint-500 checkpoint-1000 runs", "the folder of a training run", "/checkpoint-1000."),
    "sentence-transformers": ("modules.json 0_Transformer 1_Pooling", "one level down", "/0_Transformer."),
    "diffusers": ("model_index.json unet vae", "a pipeline of diffusers", "language models"),
    "GGUF": ("a-q8_0.gguf README.md", "a folder of GGUF files", "/a-q8_0.gguf: gguf-to-hf, quantize"),
    "GGUF with a config": ("config.json a.gguf", "a folder of GGUF files", "/a.gguf"),
    "Megatron inside": (".metadata __0_0.distcp common.pt metadata.json", "a Megatron checkpoint", "Megatron-Bridge"),
    "NeMo 2": ("context weights", "a NeMo checkpoint", "llm.export_ckpt('"),
    "NeMo 1 in one file": ("model.nemo", "a folder with an archive of NeMo (model.nemo)", "nemo_to_hf.py"),
    "NeMo 1": ("model_config.yaml model_weights", "a NeMo checkpoint unpacked", "nemo_to_hf.py"),
    "a run of verl": ("global_step_50 global_step_100 latest_checkpointed_iteration.txt", "the folder of a run of verl",
                      "/global_step_100/actor --target_dir"),
    "a step of verl": ("actor data.pt", "a step of a run of verl", "/actor --target_dir"),
    "GPT-NeoX": ("layer_00-model_00-model_states.pt mp_rank_00_model_states.pt configs", "GPT-NeoX, a file per layer",
                 "convert_neox_to_hf.py"),
    "Flax": ("config.json flax_model.msgpack", "a checkpoint of Flax", "from_flax=True"),
    "TensorFlow": ("config.json tf_model.h5", "a checkpoint of TensorFlow (tf_model.h5)", "from_tf=True"),
    "MLX of old": ("config.json weights.npz tokenizer.model", "MLX from before safetensors", "/weights.npz'))"),
    "Orbax": ("_CHECKPOINT_METADATA d manifest.ocdbt", "JAX (Orbax)", "the program that it was made with"),
    "MLC": ("mlc-chat-config.json ndarray-cache.json params_shard_0.bin", "as mlc-chat-config.json takes it", "it was made of"),
    "TensorRT": ("config.json rank0.engine", "as rank0.engine takes it", "it was made of"),
    "LitGPT": ("lit_model.pth model_config.yaml", "a checkpoint of LitGPT", "litgpt convert_from_litgpt"),
    "Paddle": ("config.json model_state.pdparams", "another framework (model_state.pdparams)", "save_pretrained"),
    "a Trainer's state": ("config.json optimizer.pt scheduler.pt trainer_state.json rng_state.pth_", "without the model",
                          "another checkpoint"),
    "ONNX": ("config.json onnx", "another framework (onnx)", "save_pretrained"),
    "weights by another name": ("config.json checkpoint.pt tokenizer.json", "no program looks for (checkpoint.pt)",
                                "pytorch_model.bin"),
    "a state": ("model.pt optimizer.pt", "a state of training", "save_pretrained"),
}


def folder_of(root: Path, names: str) -> Path:
    root.mkdir()
    for name in names.split():
        (root / name).write_text("{}") if "." in name.strip(".") else (root / name).mkdir()
    return root


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_are_no_checkpoint(case: str, tmp_path: Path):
    names, said, way = FOLDERS[case]
    with pytest.raises((UsageError, UnsupportedError)) as caught:
        open_checkpoint(folder_of(tmp_path / "x", names))
    assert said in caught.value.message
    assert caught.value.message.endswith("; a model's checkpoint is needed")
    assert way.format(x=tmp_path / "x", top=tmp_path) in caught.value.hint
    assert len(str(caught.value).splitlines()) == 2


def test_folders_that_are_one(tmp_path: Path):
    """Whatever else lies in them."""
    beside = " ".join(names for names, _, _ in FOLDERS.values())
    for i, weights in enumerate(("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json",
                                 "model-00001-of-00002.safetensors")):
        expect(folder_of(tmp_path / str(i), f"config.json {weights} " + " ".join(
            n for n in dict.fromkeys(beside.split()) if n not in ("config.json", weights))), "checkpoint")


def test_an_adapter_and_a_base(tmp_path: Path):
    both = folder_of(tmp_path / "both", "config.json model.safetensors adapter_config.json adapter_model.safetensors")
    expect(both, "adapter")
    expect(both, "config")
    model = folder_of(tmp_path / "model", "config.json model.safetensors")
    with pytest.raises(UsageError, match=r"is a model's checkpoint; a PEFT adapter's folder is needed(?s:.*)hf-to-gguf"):
        open_adapter(model)
    with pytest.raises(UnsupportedError, match=r"an adapter of MLX of before mlx-lm 0.14; a PEFT adapter's folder is needed"):
        open_adapter(folder_of(tmp_path / "mlx", FOLDERS["MLX adapter"][0]))
    with pytest.raises(UsageError, match=r"is a PEFT adapter; the base model's folder"):
        config_only(folder_of(tmp_path / "adapter", "adapter_config.json adapter_model.safetensors"))


def test_one_level_down(tmp_path: Path):
    """As peft saves named adapters, and a parent folder given by mistake."""
    named = tmp_path / "named"
    named.mkdir()
    for name in ("sql", "chat"):
        folder_of(named / name, "adapter_config.json adapter_model.safetensors")
    with pytest.raises(UsageError, match=r"is not a PEFT adapter's folder, but has one in it\n.*chat or .*sql\.$"):
        open_adapter(named)
    (tmp_path / "models").mkdir()
    folder_of(tmp_path / "models" / "one", "config.json model.safetensors")
    with pytest.raises(UsageError, match=r"is not a model's checkpoint, but has one in it\n.*models/one\.$"):
        open_checkpoint(tmp_path / "models")


FILES = {
    "m.gguf": (b"GGUF\3\0\0\0", "is a GGUF file", "ggufx gguf-to-hf"),
    "sha256-0123": (b"GGUF\3\0\0\0", "is a GGUF file", "ggufx quantize"),
    "model.safetensors": (b"\2\0\0\0\0\0\0\0{}", "is a safetensors file", "Give the folder that it lies in: "),
    "config.json": (b'{"a": 1}', "is a JSON file", "Give the folder"),
    "model.safetensors.index.json": (b'{"weight_map": {}}', "is an index of weights", "Give the folder"),
    "pytorch_model.bin": (b"PK\3\4", "is a file of PyTorch", "Give the folder"),
    "consolidated.00.pth": (b"PK\3\4", "is a file of PyTorch", "Give the folder"),
    "ggml-model-q4_0.bin": (b"tjgg\3\0\0\0", "is a GGML file from before GGUF", "convert_llama_ggml_to_gguf.py"),
    "old.bin": (b"lmgg\1\0\0\0", "is a GGML file from before GGUF", "original checkpoint"),
    "lora.bin": (b"algg\1\0\0\0", "is a GGML file from before GGUF", "original checkpoint"),
    "imatrix.dat": (b"\1\0\0\0\4\0\0\0", "is an importance matrix", "imatrix to hf-to-gguf"),
    "model.nemo": (b"ustar", "is an archive of NeMo", "nemo_to_hf.py"),
    "model.onnx": (b"\x08\x07", "is weights of another framework", "save_pretrained"),
    "tf_model.h5": (b"\x89HDF\r\n", "is weights of another framework", "save_pretrained"),
    "model.zip": (b"PK\3\4", "is an archive", "Unpack it"), "m.tar.gz": (b"\x1f\x8b\x08", "is an archive", "Unpack it"),
    "m.llamafile": (b"MZqFpD='\n", "is a llamafile", "unzip -j"),
    "m.gguf-split-b": (b"\0\1\2", "is a piece of a file", "cat PIECES"),
    "m.gguf.part2of3": (b"\0\1\2", "is a piece of a file", "cat PIECES"),
    "Modelfile": (b"FROM ./m.gguf\n", "is Ollama's Modelfile", "FROM line"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_in_place_of_a_folder_or_of_a_gguf_file(name: str, tmp_path: Path):
    content, said, way = FILES[name]
    (tmp_path / name).write_bytes(content)
    calls = {"a model's checkpoint": lambda: ggufx.hf_to_gguf(tmp_path / name, tmp_path / "o"),
             "the base model's folder (its config.json is enough)": lambda: config_only(tmp_path / name)}
    if content[:4] != b"GGUF":
        calls["a GGUF file"] = lambda: ggufx.gguf_to_hf(tmp_path / name, tmp_path / "o")
    for wanted, call in calls.items():
        with pytest.raises((UsageError, UnsupportedError)) as caught:
            call()
        assert caught.value.message.startswith(said)
        assert caught.value.message.endswith(f"; {wanted} is needed")
        assert way in caught.value.hint
        assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
    (b"<!DOCTYPE html>\n<html>", "is a server's answer"), (b"Entry not found", "is a server's answer"),
])
def test_files_that_hold_nothing(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "m.gguf").write_bytes(content)
    for call in (lambda p: ggufx.gguf_to_hf(p, tmp_path / "o"), lambda p: ggufx.verify(p, p), open_checkpoint,
                 lambda p: QuantizePlanner(p, tmp_path / "o", Quantization())):
        with pytest.raises(InputError, match=said):
            call(tmp_path / "m.gguf")


def test_a_folder_in_place_of_a_gguf_file(zoo, tmp_path: Path):
    for call in (lambda p: ggufx.gguf_to_hf(p, tmp_path / "o"), lambda p: QuantizePlanner(p, tmp_path / "o", Quantization())):
        with pytest.raises(UsageError, match=r"is a model's checkpoint; a GGUF file is needed\n.*ggufx hf-to-gguf"):
            call(zoo("llama"))
        with pytest.raises(InputError, match="a GGUF file is needed, this is a folder"):
            call(folder_of(tmp_path / f"x{len(list(tmp_path.iterdir()))}", "notes.txt"))


GGUFS = {
    "imatrix": ({"general.type": string("imatrix")}, "blk.0.attn_q.weight.counts", "an importance matrix", "--imatrix"),
    "control vector": ({"general.architecture": string("controlvector")}, "direction.1", "a control vector",
                       "--control-vector"),
    "adapter": ({"general.type": string("adapter"), "general.architecture": string("llama")}, "blk.0.attn_q.weight.lora_a",
                "a LoRA adapter", "--lora"),
    "mmproj": ({"general.type": string("mmproj"), "general.architecture": string("clip")}, "v.blk.0.ln1.weight",
               "a multimodal projector", "text model"),
    "mmproj of old": ({"general.architecture": string("clip")}, "v.blk.0.ln1.weight", "a multimodal projector", "text model"),
    "Ollama's": ({"general.architecture": string("gemma3"), "gemma3.block_count": u32(1)}, "v.blk.0.ln1.weight",
                 "as Ollama makes them", "mmproj"),
}


@pytest.mark.parametrize("case", GGUFS)
def test_gguf_files_that_are_no_model_of_text(case: str, tmp_path: Path):
    keys, tensor, said, way = GGUFS[case]
    laid = layout([(tensor, "F32", (8,))] + [(f"v.blk.{i}.x", "F32", (8,)) for i in range(1, 40) if "v." in tensor])
    keys = {**keys, "tokenizer.ggml.tokens": array(ValueType.STRING, ["a"])}
    (tmp_path / "m.gguf").write_bytes(encode_header(keys, laid) + bytes(32 * len(laid)))
    calls = [] if case == "adapter" else [lambda: ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "o")]
    if case != "Ollama's" and not case.startswith("mmproj"):  # which is quantized as models are
        calls.append(lambda: QuantizePlanner(tmp_path / "m.gguf", tmp_path / "o", Quantization()))
    for call in calls:
        with pytest.raises(UnsupportedError) as caught:
            call()
        assert not isinstance(caught.value, ManyErrors)
        assert said in caught.value.message
        assert way in caught.value.hint


def test_parts_joined_with_cat(zoo, converted, tmp_path: Path):
    one = converted("llama").read_bytes()
    (tmp_path / "m.gguf").write_bytes(one + one)
    with pytest.raises(InputError, match="another GGUF file follows, parts were joined with `cat`"):
        ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "o")
    (tmp_path / "m.gguf.part1of2").write_bytes(one[:-100])
    with pytest.raises(InputError, match=r"the file is cut(?s:.*)cat PIECES > model\.gguf"):
        ggufx.gguf_to_hf(tmp_path / "m.gguf.part1of2", tmp_path / "o")
    shutil.copytree(zoo("llama"), tmp_path / "m")
    part = (tmp_path / "m" / "model.safetensors").read_bytes()
    (tmp_path / "m" / "model.safetensors").write_bytes(part * 2)
    with pytest.raises(InputError, match="another safetensors file follows, parts were joined with `cat`"):
        open_checkpoint(tmp_path / "m")


def test_names_with_braces_and_escapes(tmp_path: Path):
    folder = folder_of(tmp_path / "{x}", "b{entry}\x1b[31m.gguf")
    with pytest.raises(GgufxError) as caught:
        open_checkpoint(folder)
    assert "{x}/b{entry}\\x1b[31m.gguf" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    json.dumps(caught.value.to_json())
