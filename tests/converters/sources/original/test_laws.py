"""A model that is taken apart into its maker's layout gives the GGUF file of its Hugging Face folder, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ggufx.converters.errors import InputError, UsageError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import plain
from ggufx.converters.notes import Note
from ggufx.converters.plan.plan import ConversionPlan
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.run.execute import execute
from ggufx.converters.sources.stated import Stated
from zoo import originals

import ggufx

SCALED = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}


@pytest.fixture(scope="module")
def spm(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama 1 by its settings, float16, with a vocabulary that four ranks can share."""
    return originals.padded(zoo("llama-mha"), tmp_path_factory.mktemp("spm") / "m", 4, max_position_embeddings=2048)


@pytest.fixture(scope="module")
def llama3(zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied model with the rotary settings of Llama 3.2 and room for 256 special tokens."""
    return originals.padded(zoo("llama-llama3"), tmp_path_factory.mktemp("llama3") / "m", 1024, rope_parameters=SCALED,
                            max_position_embeddings=131072)


def converted(folder: Path, out: Path, outtype: str = "auto", **stated: str | int) -> Path:
    out.parent.mkdir(exist_ok=True)
    execute(planned(folder, out, outtype, **stated))
    return out


def planned(folder: Path, out: Path, outtype: str = "auto", **stated: str | int) -> ConversionPlan:
    return plan_hf_to_gguf(folder, out, GgufOptions(outtype, plain=True, stated=Stated(**stated)))


def notes(plan: ConversionPlan) -> str:
    return "\n".join(str(Note.of(note)) for note in plan.notes)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("by_columns", [True, False])
def test_meta(spm: Path, tmp_path: Path, ranks: int, by_columns: bool):
    """Whichever axis of the embedding ranks share; float16 stays, and blocks are those of whole rows."""
    folder = originals.meta(spm, tmp_path / "meta" / "m", ranks, by_columns)
    originals.copy(spm, folder.parent, "tokenizer.model")  # one level up
    originals.copy(spm, folder, "chat_template.jinja")
    for outtype in ("auto", "q4_0"):
        assert converted(folder, tmp_path / "a.gguf", outtype).read_bytes() == \
            converted(spm, tmp_path / "b.gguf", outtype).read_bytes()
        (tmp_path / "a.gguf").unlink()
        (tmp_path / "b.gguf").unlink()


def test_a_wide_model_is_cut_into_tiles(spm: Path, tmp_path: Path):
    """Pieces of rows are jobs of their own, pieces of columns are joined tile by tile."""
    folder = originals.meta(spm, tmp_path / "m", 2)
    originals.copy(spm, folder, "tokenizer.model", "chat_template.jinja")
    plan = planned(folder, tmp_path / "a.gguf")
    sources = {job.name: len(job.sources) for job in plan.jobs}
    assert sources["blk.0.attn_q.weight"] == 1
    assert not any(job.ops for job in plan.jobs if "attn_q" in job.name or "attn_k" in job.name)
    assert sources["blk.0.attn_output.weight"] == sources["token_embd.weight"] == 2
    execute(plan, max_memory=1 << 10)
    assert ggufx.verify(spm, tmp_path / "a.gguf").same


@pytest.mark.parametrize("ranks", [1, 2])
def test_llama_3(llama3: Path, tmp_path: Path, ranks: int):
    """A rank file gives the tokens of the Hugging Face tokenizer, and a head with the embedding's bytes is a tied one."""
    folder = originals.meta(llama3, tmp_path / "m", ranks, by_columns=False, params={"use_scaled_rope": True})
    for file in folder.glob("*.pth"):
        shard = torch.load(file)
        torch.save(shard | {"output.weight": shard["tok_embeddings.weight"].clone()}, file)
    pieces = originals.ranks_file(llama3, folder / "tokenizer.model")
    ours, theirs = (read_gguf(converted(f, tmp_path / f"{name}.gguf", **stated)) for name, f, stated in (
        ("ours", folder, {"llama_version": "3.2"}), ("theirs", llama3, {})))
    assert {name: (t.type, t.shape) for name, t in ours.tensors.items()} == {
        name: (t.type, t.shape) for name, t in theirs.tensors.items()}
    assert "rope_freqs.weight" in ours.tensors
    assert "output.weight" not in ours.tensors
    for name, tensor in ours.tensors.items():
        other = theirs.tensors[name]
        assert raw(tensor) == raw(other), name
    ours_keys, theirs_keys = plain(ours.metadata), plain(theirs.metadata)
    differ = {key for key in ours_keys | theirs_keys
              if str(ours_keys.get(key)) != str(theirs_keys.get(key))} - {"tokenizer.chat_template"}
    # More ways to merge, EOS of the base model; transformers calls a token padding.
    assert differ == {f"tokenizer.ggml.{key}" for key in ("merges", "eos_token_id", "padding_token_id")}
    assert ours_keys["tokenizer.ggml.bos_token_id"] == pieces
    assert "taken for Llama 3.1 by use_scaled_rope" in notes(planned(folder, tmp_path / "x.gguf"))


def raw(tensor) -> bytes:
    with open(tensor.file, "rb") as file:
        file.seek(tensor.offset)
        return file.read(tensor.nbytes)


def test_a_head_of_its_own_stays(llama3: Path, tmp_path: Path):
    """However much of it is as in the embedding; and 3.0 has other names for special tokens."""
    folder = originals.meta(llama3, tmp_path / "m", by_columns=False)
    pieces = originals.ranks_file(llama3, folder / "tokenizer.model")
    shard = torch.load(folder / "consolidated.00.pth")
    head = shard["tok_embeddings.weight"].clone()
    head[-1, -1] += 1
    torch.save(shard | {"output.weight": head}, folder / "consolidated.00.pth")
    plan = planned(folder, tmp_path / "a.gguf")
    assert "output.weight" in {t.name for t in plan.tensors}
    assert "taken for Llama 3 by its tokenizer" in notes(plan)
    execute(plan)
    tokens = list(read_gguf(tmp_path / "a.gguf").metadata["tokenizer.ggml.tokens"].data)[pieces:pieces + 256]
    assert tokens[4:11] == ["<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>",
                            "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>", "<|reserved_special_token_5|>"]
    assert tokens[-1] == "<|reserved_special_token_250|>"


@pytest.mark.parametrize("name", ["mistral", "mixtral", "ministral3"])
@pytest.mark.parametrize("parts", [1, 2])
def test_mistral(zoo: Callable[[str], Path], tmp_path: Path, name: str, parts: int):
    source = originals.padded(zoo(name), tmp_path / "hf" / "m", 1)
    folder = originals.mistral(source, tmp_path / "own" / "m", parts)
    originals.copy(source, folder, "chat_template.jinja")
    if (source / "tokenizer.model").exists():
        originals.copy(source, folder, "tokenizer.model")
        (folder / "tokenizer.model").rename(folder / "tokenizer.model.v3")
    else:
        originals.copy(source, folder, "tokenizer.json", "tokenizer_config.json")
    assert converted(folder, tmp_path / "a.gguf").read_bytes() == converted(source, tmp_path / "b.gguf").read_bytes()


def test_the_text_part_of_a_vision_model(zoo: Callable[[str], Path], tmp_path: Path):
    """As llama.cpp reads Mistral's layout: the architecture of the text model alone."""
    source = zoo("mistral3")
    folder = originals.mistral(source, tmp_path / "m", params={"vision_encoder": {"hidden_size": 32}})
    originals.copy(source, folder, "tokenizer.json", "tokenizer_config.json")
    plan = planned(folder, tmp_path / "a.gguf")
    assert "vision_encoder.*: 11 tensors of the vision part are left out" in notes(plan)
    execute(plan)
    ours, theirs = read_gguf(tmp_path / "a.gguf"), read_gguf(converted(source, tmp_path / "b.gguf"))
    assert (ours.metadata["general.architecture"].data, theirs.metadata["general.architecture"].data) == ("llama", "mistral3")
    assert {n: raw(t) for n, t in ours.tensors.items()} == {n: raw(t) for n, t in theirs.tensors.items()}


def test_hugging_face_s_layout_comes_first(zoo: Callable[[str], Path], tmp_path: Path):
    source = originals.padded(zoo("mistral"), tmp_path / "m", 1)
    own = originals.mistral(source, tmp_path / "own")
    originals.copy(own, source, "params.json", "consolidated.safetensors")
    said = notes(planned(source, tmp_path / "a.gguf"))
    assert "the model is read in Hugging Face's layout, params.json is not" in said
    assert "not read: consolidated.safetensors" in said
    (source / "model.safetensors").unlink()
    assert len(planned(source, tmp_path / "a.gguf").tensors) == 21  # config.json alone is no model


def test_fp8(zoo: Callable[[str], Path], tmp_path: Path):
    """Mistral's FP8 with a scale per weight: decoded in the order that is stored, then brought into Hugging Face's."""
    from safetensors.torch import load_file, save_file

    source = originals.padded(zoo("mistral"), tmp_path / "hf" / "m", 1)
    folder = originals.mistral(source, tmp_path / "own" / "m")
    originals.copy(source, folder, "tokenizer.model", "chat_template.jinja")
    tensors, decoded = load_file(folder / "consolidated.safetensors"), {}
    for name, tensor in list(tensors.items()):
        if ".attention.w" in name or ".feed_forward.w" in name:
            codes, scale = (tensor.float() * 64).to(torch.float8_e4m3fn), torch.tensor(2.0**-6, dtype=torch.bfloat16)
            module = name.removesuffix("weight")
            tensors |= {name: codes, module + "qscale_weight": scale, module + "qscale_act": torch.tensor(0.5)}
            decoded[name] = (codes.float() * scale.float()).to(torch.bfloat16)
    save_file(tensors, folder / "consolidated.safetensors")
    other = originals.mistral(source, tmp_path / "plain" / "m")
    originals.copy(source, other, "tokenizer.model", "chat_template.jinja")
    save_file(load_file(other / "consolidated.safetensors") | decoded, other / "consolidated.safetensors")
    plan = planned(folder, tmp_path / "a.gguf", "bf16")
    assert "FP8" in notes(plan)
    execute(plan)
    assert (tmp_path / "a.gguf").read_bytes() == converted(other, tmp_path / "b.gguf", "bf16").read_bytes()


def test_what_is_stated(spm: Path, zoo: Callable[[str], Path], tmp_path: Path):
    folder = originals.meta(spm, tmp_path / "m")
    originals.copy(spm, folder, "tokenizer.model")
    assert "taken for Llama 1 by its F16 weights, 2048 tokens" in notes(planned(folder, tmp_path / "a.gguf"))
    plan = planned(folder, tmp_path / "a.gguf", llama_version="2", context_length=1000)
    assert "taken for" not in notes(plan)
    for stated, said in (({"llama_version": "4"}, "no version of Llama"), ({"llama_version": "3"}, "the tokenizer is another")):
        with pytest.raises(UsageError, match=said):
            planned(folder, tmp_path / "a.gguf", **stated)
    with pytest.raises(UsageError, match=r"--llama-version is of no use: the model is in Hugging Face's layout"):
        planned(spm, tmp_path / "a.gguf", llama_version="2")
    own = originals.mistral(zoo("mistral"), tmp_path / "own", params={"max_seq_len": None})
    originals.copy(spm, own, "tokenizer.model")
    with pytest.raises(InputError, match=r"how long a context(?s:.*)--context-length"):
        planned(own, tmp_path / "a.gguf")
    assert (ggufx.inspect(own).architecture, ggufx.inspect(own).context_length) == ("llama", None)
    planned(own, tmp_path / "a.gguf", context_length=512)
    with pytest.raises(UsageError, match="this is Mistral's layout"):
        planned(own, tmp_path / "a.gguf", context_length=512, llama_version="2")


def test_looked_at_and_compared(spm: Path, tmp_path: Path):
    folder = originals.meta(spm, tmp_path / "m", 2)
    originals.copy(spm, folder, "tokenizer.model", "chat_template.jinja")
    found = ggufx.inspect(folder)
    assert (found.architecture, found.context_length, len(found.files), len(found.tensors)) == ("llama", 2048, 2, 21)
    assert ggufx.verify(folder, spm).same
    assert ggufx.verify(spm, folder).same
    gguf = converted(spm, tmp_path / "a.gguf")
    assert ggufx.verify(folder, gguf).same
    shard = torch.load(folder / "consolidated.01.pth")
    shard["layers.1.attention.wq.weight"][0, 0] += 1
    torch.save(shard, folder / "consolidated.01.pth")
    assert [p.name for p in ggufx.verify(folder, gguf).pairs if not p.verdict.same] == ["blk.1.attn_q.weight"]
