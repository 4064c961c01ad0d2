"""Ollama's Modelfile, read again by the grammar that Ollama reads it by."""

import json

import pytest
from ggufx.cli.main import app
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.values import f32, i32, string, strings, u32
from ggufx.converters.metadata.modelfile import make_modelfile
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from zoo.adapters import make_adapter
from zoo.files import changed_copy, write_file

import ggufx

COMMANDS = {"FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "RENDERER", "PARSER", "DRAFT",
            "REQUIRES"}
PARAMETERS = {"num_ctx", "stop", "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "repeat_last_n",
              "presence_penalty", "frequency_penalty", "seed", "num_predict", "num_keep", "num_batch", "num_gpu", "num_thread",
              "main_gpu", "use_mmap", "draft_num_predict"}


def parse(text: str) -> list[tuple[str, str]]:
    """(command, or parameter, and value) of each line. A command word, then a value: the rest of the line, or `"..."`, or
    three quotes, up to a line's end behind the closing ones. There are no escapes; what is not printable is dropped."""
    text = "".join(c for c in text if c.isprintable() or c in "\n\t")
    out, rest = [], text
    while rest := rest.lstrip():
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        word, _, rest = rest.partition(" ")
        assert word.upper() in COMMANDS, word
        name = word.upper()
        if name == "PARAMETER":
            name, _, rest = rest.lstrip().partition(" ")
            assert name in PARAMETERS, name
        lines = rest.split("\n")
        for n in range(1, len(lines) + 1):
            value = unquoted("\n".join(lines[:n]).strip())
            if value is not None:
                break
        else:
            raise AssertionError(f"no end of {rest!r}")
        out.append((name, value))
        rest = "\n".join(lines[n:])
    return out


def unquoted(text: str) -> str | None:
    for quotes in ('"""', '"'):
        if text.startswith(quotes):
            closed = len(text) >= 2 * len(quotes) and text.endswith(quotes)
            return text[len(quotes) : -len(quotes)] if closed else None
    return text


def model(path, *, tokens=("a", "</s>", "<|eot|>"), **changes):
    keys = {"general.architecture": string("llama"), "llama.context_length": u32(4096),
            "tokenizer.ggml.tokens": strings(list(tokens)), "tokenizer.ggml.eos_token_id": u32(1),
            "tokenizer.ggml.eot_token_id": u32(2), "tokenizer.chat_template": string("{{ x }}"), **changes}
    return write_file(path, keys, {"token_embd.weight": ("F32", (3, 2), bytes(24))})


def adapter(path, **changes):
    keys = {"general.architecture": string("llama"), "general.type": string("adapter"), "adapter.type": string("lora"),
            **changes}
    return write_file(path, keys, {})


def test_what_it_says(tmp_path):
    (tmp_path / "models").mkdir()
    path = model(tmp_path / "models" / "My Model-Q4.gguf", **{
        "general.sampling.temp": f32(0.6), "general.sampling.top_k": i32(20), "general.sampling.mirostat": i32(2),
        "general.sampling.penalty_repeat": f32(1.05), "general.license": string("other"),
        "general.license.name": string("Own"), "general.license.link": string("https://example.org/l")})
    made = make_modelfile(path, adapter(tmp_path / "a.gguf"), tmp_path)
    assert parse(made.text) == [
        ("FROM", "./models/My Model-Q4.gguf"), ("ADAPTER", "./a.gguf"), ("stop", "</s>"), ("stop", "<|eot|>"),
        ("temperature", "0.6"), ("top_k", "20"), ("repeat_penalty", "1.05"), ("LICENSE", "other: Own (https://example.org/l)")]
    assert "num_ctx 4096" in made.text
    assert (made.name, made.notes) == ("a", ())
    assert make_modelfile(path, None, tmp_path / "models").name == "my-model-q4"
    assert parse(make_modelfile(path, None, tmp_path / "x").text)[0] == ("FROM", "../models/My Model-Q4.gguf")


def test_a_model_that_does_not_sample_or_generate(zoo, tmp_path):
    config = {"do_sample": False, "temperature": 0.5, "eos_token_id": [0, 2]}
    keys = {"general.sampling.temp": f32(0.5), "ggufx.generation_config": string(json.dumps(config))}
    assert [x for x in parse(make_modelfile(model(tmp_path / "a.gguf", **keys), None, tmp_path).text) if x[0] != "FROM"] == [
        ("stop", "</s>"), ("stop", "<|eot|>"), ("stop", "a")]
    keys["ggufx.generation_config"] = string(json.dumps(config | {"do_sample": True}))
    assert ("temperature", "0.5") in parse(make_modelfile(model(tmp_path / "b.gguf", **keys), None, tmp_path).text)
    ggufx.hf_to_gguf(zoo("bert"), tmp_path / "bert.gguf")
    made = make_modelfile(tmp_path / "bert.gguf", None, tmp_path)
    assert {name for name, _ in parse(made.text)} <= {"FROM", "LICENSE"}
    assert made.notes == ("the model has no chat template: Ollama passes prompts on as they are",)


@settings(max_examples=80, deadline=None)
@given(stop=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.text('"\n a', min_size=1, max_size=8),
       licence=st.text('"\n a', max_size=8))
def test_any_text_is_said_or_left_out_by_name(stop, licence, tmp_path_factory):
    path = model(tmp_path_factory.mktemp("m") / "a.gguf", tokens=("a", stop, "b"), **{"general.license": string(licence)})
    made = make_modelfile(path, None, path.parent)
    found = parse(made.text)
    assert (("stop", stop) in found) != any("stop" in note for note in made.notes)
    assert ("LICENSE", licence) in found or not licence or any("licence" in note for note in made.notes)
    assert {name for name, _ in found} <= {"FROM", "stop", "LICENSE"}


def test_a_projector_belongs_to_its_model(tmp_path):
    path = model(tmp_path / "m.gguf")
    seen = adapter(tmp_path / "mmproj-m.gguf", **{"general.type": string("mmproj"), "general.architecture": string("clip")})
    assert parse(make_modelfile(path, None, tmp_path, [seen]).text)[:2] == [("FROM", "./m.gguf"), ("FROM", "./mmproj-m.gguf")]
    with pytest.raises(GgufxError, match="is no projector"):
        make_modelfile(path, None, tmp_path, [path])


def test_a_doubtful_base_is_said(tmp_path):
    path = model(tmp_path / "m.gguf", **{"general.name": string("Llama 3")})
    for base, said in (("Llama 3", 0), ("Qwen 3", 1)):
        lora = adapter(tmp_path / "a.gguf", **{"general.base_model.0.name": string(base)})
        assert len(make_modelfile(path, lora, tmp_path).notes) == said


@pytest.mark.parametrize(("keys", "words"), [
    ({"general.architecture": string("qwen2")}, "another architecture"),
    ({"general.type": string("model")}, "is no adapter"),
    ({"general.type": string("model"), "general.architecture": string("controlvector")}, "a control vector"),
])
def test_what_is_no_adapter_of_the_model_is_refused(keys, words, tmp_path):
    with pytest.raises(GgufxError, match=words):
        make_modelfile(model(tmp_path / "m.gguf"), adapter(tmp_path / "a.gguf", **keys), tmp_path)


def test_no_model_is_refused(tmp_path):
    with pytest.raises(GgufxError, match="a LoRA adapter; a model is needed"):
        make_modelfile(adapter(tmp_path / "a.gguf"), None, tmp_path)


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_commands_write_it(zoo, tmp_path, monkeypatch):
    source = changed_copy(zoo("llama"), tmp_path / "model")
    made = call("hf-to-gguf", source, "-o", tmp_path / "m.gguf", "--modelfile")
    assert made.exit_code == 0, made.output
    assert f"next: ollama create m -f {tmp_path / 'Modelfile'}" in made.stderr
    assert parse((tmp_path / "Modelfile").read_text())[0] == ("FROM", "./m.gguf")
    assert call("hf-to-gguf", source, "-o", tmp_path / "n.gguf", "--modelfile").exit_code == 2  # a Modelfile is there already
    assert not (tmp_path / "n.gguf").exists()
    several = call("quantize", tmp_path / "m.gguf", tmp_path / "m-{outtype}.gguf", "q8_0,f16", "--modelfile", "--json")
    assert several.exit_code == 0, several.output
    assert [f["modelfile"] for f in json.loads(several.stdout)["files"]] == [
        str(tmp_path / f"m-{kind}.Modelfile") for kind in ("q8_0", "f16")]
    assert parse((tmp_path / "m-f16.Modelfile").read_text())[0] == ("FROM", "./m-f16.gguf")
    lora = make_adapter(source, tmp_path / "adapter", {"target_modules": ["q_proj"]})
    (tmp_path / "out").mkdir()
    done = call("lora-to-gguf", lora, "-o", tmp_path / "out" / "a.gguf", "--modelfile", tmp_path / "m.gguf")
    assert done.exit_code == 0, done.output
    assert parse((tmp_path / "out" / "Modelfile").read_text())[:2] == [("FROM", "../m.gguf"), ("ADAPTER", "./a.gguf")]
    monkeypatch.chdir(tmp_path)
    alone = call("modelfile", "m-q8_0.gguf", "--adapter", "out/a.gguf", "--force", "--json")
    assert json.loads(alone.stdout)["text"] == (tmp_path / "Modelfile").read_text()
    assert parse((tmp_path / "Modelfile").read_text())[:2] == [("FROM", "./m-q8_0.gguf"), ("ADAPTER", "./out/a.gguf")]
    assert call("modelfile", "m.gguf").exit_code == 2
