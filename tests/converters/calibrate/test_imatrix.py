"""Matrices made from checkpoints against those of llama-imatrix (scripts/golden/imatrix.py)."""

import json
import re
import shutil
from collections import UserDict
from logging import Handler
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.cli.main import app
from ggufx.converters.arch import SPECS
from ggufx.converters.calibrate.calls import Call, is_of_text
from ggufx.converters.calibrate.families import CARRIED, FAMILIES, REFUSED, Family, text_class
from ggufx.converters.calibrate.imatrix import ImatrixOptions, make_imatrix
from ggufx.converters.calibrate.skeleton import placed
from ggufx.converters.calibrate.text import TextOptions, chunks_of, encode
from ggufx.converters.errors import InputError, UnsupportedError, UsageError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.imatrix_file import read_imatrix_file
from ggufx.converters.io.texts import read_texts
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.verify.runtime import Runtime
from typer.testing import CliRunner
from zoo.matrices import CASES, CONTEXT, CORPUS, GOLDEN, TEXT, text_of

import ggufx

CLOSE, GELU, FEW_ROWS, OTHERWISE = 1e-5, 1e-3, 2e-3, 1e-4  # relative
LOOKED_UP = ("gemma", "gemma2", "gemma3", "gemma4", "gemma4-vl", "embeddinggemma", "starcoder2", "starcoder", "gpt2", "phi2",
             "bloom", "falcon", "gptneox", "mpt")  # GELU, by llama.cpp in a table of float16
COMPUTED_OTHERWISE = ("qwen2vl", "kimivl", "qwen3omni", "qwen3vlmoe", "hunyuan-vl", "minicpm3", "glm4lite", "glmdsa-shared",
                      "kimi-linear")  # by llama.cpp: test_llama_cpp.py says what
ROUNDED = ("qwen35", "qwen35-vl", "qwen35moe", "qwen35moe-vl", "qwen3next", "minicpmv", "jamba", "exaone-moe",
           "nemotron")  # so far apart by float32 alone: test_llama_cpp.py
TOLERANCE = {**dict.fromkeys(LOOKED_UP, GELU), **dict.fromkeys((*COMPUTED_OTHERWISE, *ROUNDED), OTHERWISE),
             "gemma4-moe": FEW_ROWS}  # GELU in experts, to which a handful of tokens come
THRESHOLD = ("gemma3n-vl",)  # what does not reach it is 0, and llama.cpp has another one: test_llama_cpp.py compares sums
SMALL = TextOptions(context=CONTEXT, chunks=4)
FEW = 0.004  # of the bytes of quantized files: what rounds the other way where sums differ by no more than CLOSE


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / TEXT
    path.write_text(CORPUS.read_text() * 4)
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_matrix_is_that_of_llama_imatrix(name: str, zoo, recorded, tmp_path: Path):
    """All bytes in front of the numbers, the counts, and nearly the sums."""
    case, text, out, theirs = CASES[name], tmp_path / TEXT, tmp_path / "out.gguf", recorded(name)
    text.write_text(text_of(case))
    make_imatrix(zoo(case.model), [text], out, ImatrixOptions(TextOptions(context=case.context, **dict(case.options))))
    data = min(t.offset for t in read_gguf(theirs).tensors.values())
    assert out.read_bytes()[:data] == theirs.read_bytes()[:data]
    assert out.stat().st_size == theirs.stat().st_size
    made, expected = read_imatrix_file(out).entries, read_imatrix_file(theirs).entries
    for weight, entry in made.items():
        np.testing.assert_array_equal(entry.counts, expected[weight].counts, err_msg=weight)
        if case.model not in THRESHOLD:
            np.testing.assert_allclose(entry.sums, expected[weight].sums, TOLERANCE.get(case.model, CLOSE), err_msg=weight)


def test_goldens_are_of_every_case_and_differ():
    """What options choose is in the files: a case that gave the same bytes as another would test nothing."""
    assert {p.name.removesuffix(".gguf.gz") for p in GOLDEN.glob("*.gz")} == {*CASES, "merged"}
    for one, other in (("every-chunk", "qwen3"), ("later-chunks", "mixtral"), ("special", "control-as-text")):
        assert (GOLDEN / f"{one}.gguf.gz").read_bytes() != (GOLDEN / f"{other}.gguf.gz").read_bytes()


@pytest.mark.parametrize("kind", ["q2_k", "q4_k_m", "iq2_xs", "iq3_xxs", "iq1_s"])
def test_files_of_either_matrix_are_alike(kind: str, zoo, recorded, tmp_path: Path):
    text = tmp_path / TEXT
    text.write_text(text_of(CASES["llama-256"]))
    make_imatrix(zoo("llama-256"), [text], tmp_path / "ours.gguf", ImatrixOptions(SMALL))
    files = []
    for folder, matrix in (("a", tmp_path / "ours.gguf"), ("b", recorded("llama-256").rename(tmp_path / "theirs.gguf"))):
        (tmp_path / folder).mkdir()
        ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / folder / "m.gguf", outtype=kind, imatrix=matrix)
        files.append(weighed_bytes(tmp_path / folder / "m.gguf"))
    assert files[0].size == files[1].size
    assert (files[0] != files[1]).mean() <= FEW


def weighed_bytes(path: Path) -> np.ndarray:
    """Of all tensors that have an entry in a matrix."""
    return np.concatenate([np.fromfile(path, np.uint8, t.nbytes, offset=t.offset) for t in read_gguf(path).tensors.values()
                           if t.name.startswith("blk.") and t.type != "F32"])


@pytest.mark.parametrize("stored", ["gptoss-mxfp4", "qwen3moe-fused"])
def test_other_layouts_of_the_same_weights(stored: str, zoo, text: Path, tmp_path: Path):
    """Every expert has its entry, under the names and sizes that the converter gives."""
    make_imatrix(zoo(stored), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL))
    made = read_imatrix_file(tmp_path / "out.gguf")
    ggufx.hf_to_gguf(zoo(stored), tmp_path / "model.gguf", outtype="f32")
    shapes = {t.name: t.shape for t in read_gguf(tmp_path / "model.gguf").tensors.values()}
    for name, entry in made.entries.items():
        assert entry.sums.size == np.prod(shapes[name][:-2], dtype=int) * shapes[name][-1]
    assert sum("_exps" in name for name in made.entries) == 6


def test_packed_weights_are_decoded(zoo, text: Path, tmp_path: Path):
    """MXFP4 experts count as the floats that they stand for: the plain model of these values gives the same matrix."""
    ggufx.hf_to_gguf(zoo("gptoss-mxfp4"), tmp_path / "model.gguf")
    ggufx.hf_to_gguf(zoo("gptoss-mxfp4"), tmp_path / "f32.gguf", outtype="f32")
    ggufx.gguf_to_hf(tmp_path / "f32.gguf", tmp_path / "plain", dtype="f32")
    for source, name in ((zoo("gptoss-mxfp4"), "a"), (tmp_path / "plain", "b")):
        make_imatrix(source, [text], tmp_path / f"{name}.gguf", ImatrixOptions(SMALL))
    a, b = (read_imatrix_file(tmp_path / f"{name}.gguf").entries for name in "ab")
    assert a.keys() == b.keys()
    for name, entry in a.items():
        np.testing.assert_allclose(entry.sums, b[name].sums, 1e-6, err_msg=name)


@pytest.mark.parametrize(("name", "stop_in"), [
    ("llama", 1), ("gemma4", 2), ("gemma4", 4), ("gemma3n", 3), ("glmdsa-shared", 1), ("qwen3next", 3), ("granite-h-moe", 1)])
def test_an_interrupted_run_goes_on(name: str, stop_in: int, zoo, text: Path, tmp_path: Path):
    """Also where layers take what layers far in front of them keep, or something of the text besides the states."""
    whole, out = tmp_path / "whole.gguf", tmp_path / "out.gguf"
    make_imatrix(zoo(name), [text], whole, ImatrixOptions(SMALL))
    seen: list[str] = []

    def stop(done: int, total: int, what: str) -> None:
        if what == f"layer {stop_in}":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_imatrix(zoo(name), [text], out, ImatrixOptions(SMALL), progress=stop)
    assert not out.exists()
    with pytest.raises(UsageError, match="of other options"):
        make_imatrix(zoo(name), [text], out, ImatrixOptions(TextOptions(context=64, chunks=3), resume=True))
    make_imatrix(zoo(name), [text], out, ImatrixOptions(SMALL, resume=True), progress=lambda d, t, what: seen.append(what))
    assert next(iter(seen)) == f"layer {stop_in}"
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.gguf", "whole.gguf"]


def test_chunks_of_texts(zoo, text: Path, tmp_path: Path):
    """Several files are one text; chunks in front are left out; each has BOS in the place of its first token."""
    planner = GgufPlanner(zoo("llama"), None, GgufOptions())
    runtime = Runtime({**planner.keys, **planner.tokens}, "llama")
    bos = planner.tokens["tokenizer.ggml.bos_token_id"].data
    (tmp_path / "a").write_text(text.read_text()[:1000])
    (tmp_path / "b").write_text(text.read_text()[1000:])
    assert read_texts([tmp_path / "a", tmp_path / "b"]) == text.read_text()[:-1]  # without the last newline
    ids = encode(zoo("llama"), planner.tokens, "llama", read_texts([text]), False)
    every = chunks_of(ids, runtime, TextOptions(context=64))
    assert every.shape == ((len(ids) + 1) // 64, 64)
    assert (every[:, 0] == bos).all()
    np.testing.assert_array_equal(every[1, 1:], ids[64:127])  # BOS stands before the text, so its tokens move by one
    np.testing.assert_array_equal(chunks_of(ids, runtime, TextOptions(context=64, skip=2, chunks=3)), every[2:5])
    with pytest.raises(UsageError, match="too few tokens"):
        chunks_of(ids[:126], runtime, TextOptions(context=64))
    assert len(chunks_of(ids[:127], runtime, TextOptions(context=64))) == 2
    with pytest.raises(UsageError, match="to leave out"):
        chunks_of(ids[:300], runtime, TextOptions(context=64, skip=3))


def test_what_is_refused(zoo, text: Path, tmp_path: Path):
    out = tmp_path / "out.gguf"
    for name, told in (("phi3.5-moe", "of PhimoeForCausalLM: llama.cpp computes it otherwise"), ("bert", "end with EOS"),
                       ("internlm2", "transformers has no such class")):
        with pytest.raises(UnsupportedError, match=told):
            make_imatrix(zoo(name), [text], out)
    with pytest.raises(UsageError, match="larger than --max-memory"):
        make_imatrix(zoo("llama"), [text], out, ImatrixOptions(SMALL, max_memory=1 << 17))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8"):
        make_imatrix(zoo("llama"), [tmp_path / "bytes"], out)
    with pytest.raises(UsageError, match="no text"):
        make_imatrix(zoo("llama"), [], out)
    out.touch()
    with pytest.raises(UsageError, match="exists already"):
        make_imatrix(zoo("llama"), [text], out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bytes", "out.gguf"]


def test_matrix_and_files_in_one_call(zoo, text: Path, tmp_path: Path):
    """The file is that which the matrix alone gives; the key-values name the text, and no path."""
    longer = tmp_path / "longer.txt"
    longer.write_text(text.read_text() * 2)
    ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "m-{outtype}.gguf", outtype="iq2_xs", calibrate=longer)
    matrix = tmp_path / "m-imatrix.gguf"
    assert read_imatrix_file(matrix).datasets == ("longer.txt",)
    ggufx.imatrix(zoo("llama-256"), longer, tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == matrix.read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    ggufx.hf_to_gguf(zoo("llama-256"), again / "m.gguf", outtype="iq2_xs", imatrix=matrix)
    assert (again / "m.gguf").read_bytes() == (tmp_path / "m-iq2_xs.gguf").read_bytes()
    assert read_gguf(again / "m.gguf").metadata["quantize.imatrix.dataset"].data == "longer.txt"
    for wrong in ({"imatrix": matrix}, {"dry_run": True}):
        with pytest.raises(UsageError):
            ggufx.hf_to_gguf(zoo("llama-256"), tmp_path / "m-{outtype}.gguf", calibrate=longer, force=True, **wrong)


def test_the_commands_of_matrices(tmp_path: Path, zoo, text: Path):
    paths = [str(tmp_path / f"{name}.gguf") for name in "abc"]
    run = CliRunner()
    for path in paths[:2]:
        done = run.invoke(app, ["imatrix", str(zoo("llama")), "--data", str(text), "-c", "64", "--chunks", "2", "-o", path,
                                "--json"])
        assert json.loads(done.stdout)["chunks"] == 2
    assert run.invoke(app, ["imatrix", "--merge", *paths[:2], "-o", paths[2]]).exit_code == 0
    shown = json.loads(run.invoke(app, ["imatrix", "--show", paths[2], "--json"]).stdout)
    assert (shown["chunks"], shown["datasets"], len(shown["weights"])) == (4, ["corpus.txt"] * 2, 14)
    assert [row["block"] for row in shown["layers"]] == [0, 1]
    for wrong in (["--show", "--merge", paths[0]], ["--show", *paths[:2]], ["--merge", paths[0], "-o", paths[1] + "x"],
                  ["--merge", *paths[:2], "-o", paths[2]], ["--show", paths[0], "--data", str(text)]):
        assert run.invoke(app, ["imatrix", *wrong]).exit_code == 2, wrong


def test_each_class_stands_in_one_row_and_has_a_golden(zoo):
    classes = [name for family in FAMILIES for name in family.classes]
    assert len(classes) == len(set(classes))
    tried = {text_class(GgufPlanner(zoo(case.model), None, GgufOptions()).reading) for case in CASES.values()}
    assert set(classes) == tried
    assert not REFUSED.keys() & CARRIED.keys()
    assert REFUSED.keys() <= {name for spec in SPECS for name in (spec.whole.text if spec.whole else spec).classes}


def test_a_buffer_that_no_tensor_fills_is_told(zoo, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A correction of the router's scores is no parameter in transformers: without it other experts would be counted."""
    monkeypatch.setitem(CARRIED, "ExaoneMoeForCausalLM", Family(("ExaoneMoeForCausalLM",)))  # which does not say its name
    with pytest.raises(UnsupportedError, match="the class has a weight that the checkpoint does not") as error:
        make_imatrix(zoo("exaone-moe"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL))
    assert error.value.tensor == "model.layers.1.mlp.gate.e_score_correction_bias"


def test_what_layers_are_called_with():
    """What goes with the text takes its place; only a mapping that is empty is one where layers keep something."""
    positions, room = {"main": torch.ones(1)}, UserDict()
    call = Call((torch.zeros(1), 5), {"position_embeddings": positions, "shared_kv_states": room, "x": 1}, (0, "x"))
    assert call.shared is room
    args, kwargs = call.of([torch.ones(1), torch.ones(2)])
    assert (args[0].item(), args[1], kwargs["x"].numel(), kwargs["position_embeddings"]) == (1, 5, 2, positions)
    assert Call((), {"position_embeddings": positions}).shared is None


def test_what_is_made_of_token_ids_is_not_kept():
    ids = np.array([7, 9])
    kept = [torch.tensor([[7, 9]]), torch.zeros(1, 2, 5)]
    assert all(is_of_text(value, ids) for value in kept)
    assert not any(is_of_text(value, ids) for value in (torch.tensor([[0, 1]]), torch.zeros(1, 3, 5), (kept[1],), None))


def test_the_embedding_of_layers_has_fewer_rows(zoo, text: Path, tmp_path: Path):
    """Gemma 3n's: ids beyond have the first row, as in transformers."""
    from safetensors.torch import load_file, save_file

    config = json.loads((zoo("gemma3n") / "config.json").read_text())
    shutil.copytree(zoo("gemma3n"), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    (name,) = [name for name in tensors if name.endswith("embed_tokens_per_layer.weight")]
    more = config["vocab_size"] - len(tensors[name])
    assert more > 0
    tensors[name] = torch.cat([tensors[name], tensors[name][:1].expand(more, -1)])
    save_file(tensors, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "vocab_size_per_layer_input": config["vocab_size"]}))
    for folder, name in ((zoo("gemma3n"), "a"), (tmp_path / "model", "b")):
        make_imatrix(folder, [text], tmp_path / name, ImatrixOptions(SMALL))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def without_tokenizer_json(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    (to / "tokenizer.json").unlink()
    return to


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_a_sentencepiece_model_alone_cuts_texts_as_llama_cpp(name: str, zoo, recorded, tmp_path: Path):
    text = tmp_path / TEXT
    text.write_text(text_of(CASES[name]))
    make_imatrix(without_tokenizer_json(zoo(name), tmp_path / "model"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL))
    made, theirs = read_imatrix_file(tmp_path / "out.gguf").entries, read_imatrix_file(recorded(name)).entries
    for weight, entry in made.items():
        np.testing.assert_allclose(entry.sums, theirs[weight].sums, TOLERANCE.get(name, CLOSE), err_msg=weight)


@pytest.mark.parametrize("name", ["llama", "qwen2", "deepseek3", "gptoss", "phi3"])
def test_a_vocabulary_alone_cuts_texts_as_its_tokenizer(name: str, zoo, tmp_path: Path):
    """What ranks of tiktoken and Mistral's tekken.json become, cuts texts: the key-values of a GGUF file."""
    planner = GgufPlanner(zoo(name), None, GgufOptions())
    texts = CORPUS.read_text() + "\n\n  Two  spaces,\ttabs; caf\u00e9 cafe\u0301 \u4f60\u597d 1234567 <|im_start|></s>\n"
    ids = [encode(folder, planner.tokens, planner.spec.name, texts, special)
           for folder in (zoo(name), tmp_path) for special in (False, True)]
    assert ids[:2] == ids[2:]


@pytest.mark.parametrize("name", ["gemma3-vl", "qwen2vl-v4", "llava"])
def test_the_text_part_of_a_model_that_sees(name: str, zoo, text: Path, tmp_path: Path):
    """It is calibrated as the text model of its own class would be."""
    make_imatrix(zoo(name), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL))
    made = read_imatrix_file(tmp_path / "out.gguf").entries
    ggufx.hf_to_gguf(zoo(name), tmp_path / "model.gguf", outtype="f32")
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "text")
    make_imatrix(tmp_path / "text", [text], tmp_path / "again.gguf", ImatrixOptions(SMALL))
    again = read_imatrix_file(tmp_path / "again.gguf").entries
    assert made.keys() == again.keys()
    for weight, entry in made.items():
        np.testing.assert_allclose(entry.sums, again[weight].sums, CLOSE, err_msg=weight)


def test_what_config_json_leaves_out_is_as_the_class_of_the_whole_has_it(zoo, text: Path, tmp_path: Path):
    """Qwen2-VL's epsilon and rotary base, where none are said, are not Qwen2's."""
    shutil.copytree(zoo("qwen2vl"), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    left = {"rms_norm_eps": 1e-5, "rope_theta": 1e6}
    assert config["text_config"].pop("rms_norm_eps") == left["rms_norm_eps"]
    assert config["text_config"]["rope_parameters"].pop("rope_theta") == left["rope_theta"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    for folder, name in ((zoo("qwen2vl"), "a"), (tmp_path / "model", "b")):
        make_imatrix(folder, [text], tmp_path / name, ImatrixOptions(SMALL))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    ggufx.hf_to_gguf(tmp_path / "model", tmp_path / "model.gguf", outtype="f32")
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "text")
    written = json.loads((tmp_path / "text" / "config.json").read_text())
    assert {key: written.get(key) for key in left} == left


def test_devices(zoo, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cuda = pytest.importorskip("torch").cuda
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert (placed("auto"), placed("cpu")) == ("cpu", "cpu")
    with pytest.raises(UnsupportedError, match="PyTorch finds no GPU"):
        make_imatrix(zoo("llama"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL, device="cuda"))
    with pytest.raises(UsageError, match="'tpu' is not a device"):
        make_imatrix(zoo("llama"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL, device="tpu"))
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    assert [placed(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]
    with pytest.raises(UnsupportedError, match="PyTorch finds no cuda:2"):
        placed("cuda:2")
    assert not (tmp_path / "out.gguf").exists()


def test_the_memory_that_is_asked_for_is_enough(zoo, text: Path, tmp_path: Path):
    with pytest.raises(UsageError) as told:
        make_imatrix(zoo("llama"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL, max_memory=1 << 17))
    megabytes = int(re.search(r"--max-memory (\d+)MB", str(told.value.hint))[1])
    make_imatrix(zoo("llama"), [text], tmp_path / "out.gguf", ImatrixOptions(SMALL, max_memory=megabytes * 10**6))


@pytest.mark.parametrize(("weight", "told"), [
    ("model.layers.1.mlp.down_proj.weight", "layer 1"), ("model.layers.0.mlp.up_proj.weight", "layer 0"),
])
def test_weights_that_are_no_numbers(weight: str, told: str, zoo, text: Path, tmp_path: Path):
    """Also behind the last product that is looked at."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(zoo("llama"), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors[weight][3, 5] = float("nan")
    save_file(tensors, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="finite") as error:
        make_imatrix(tmp_path / "model", [text], tmp_path / "out.gguf", ImatrixOptions(SMALL))
    assert str(error.value.tensor).startswith(told)
    assert not (tmp_path / "out.gguf").exists()


def test_transformers_gives_no_advice(zoo, text: Path, tmp_path: Path):
    """Of kernels for GPUs that are not installed; what it tells others is as before."""
    from transformers.utils import logging

    logger, before, heard = logging.get_logger("transformers"), logging.get_verbosity(), []
    logging.set_verbosity_warning()
    handler = Handler()
    handler.emit = heard.append
    logger.addHandler(handler)
    try:
        make_imatrix(zoo("qwen35"), [text], tmp_path / "q.gguf", ImatrixOptions(SMALL))
        assert not [record.getMessage() for record in heard]
        assert logging.get_verbosity() == logging.WARNING
    finally:
        logger.removeHandler(handler)
        logging.set_verbosity(before)
