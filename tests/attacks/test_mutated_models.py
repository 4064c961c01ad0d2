"""Whole models of which one piece is changed at a time: key-values, tensors, settings. Planning them ends in a plan or
in one of our errors, never in another exception. The walk is the same in every run; chance only thins it out."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import Metadata, Value, ValueType, array, f32, i32, string, strings, u32, u64
from ggufx.converters.plan.plan import ConversionPlan
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
from ggufx.converters.run.execute import execute
from safetensors.numpy import save_file

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # numpy's word for numbers gone wrong

# one per architecture; True: without the ggufx.* keys
MODELS = {"llama-llama3": True, "qwen3moe": False, "qwen35-mtp": False, "gemma3": True, "gemma4": True, "gpt2-buffers": False,
          "gptoss-mxfp4": True, "roberta": False, "deepseek2": True, "phi3-longrope": True}
SETTINGS = ("llama-llama3", "qwen35-mtp", "gemma4", "roberta", "deepseek2", "phi3-longrope")
NAN, INF = math.nan, math.inf
VALUES = (
    u32(0), u32(1), u32(2**31), u64(2**62), u64(2**64 - 1), i32(-1), Value(ValueType.INT64, -2**62), f32(0.0), f32(-1.5),
    f32(1e-38), f32(NAN), f32(INF), Value(ValueType.FLOAT64, 1e300), Value(ValueType.BOOL, True), string(""),
    string("a\x07\n../x"), string("{}"), strings([]), strings(["../x", "a\nb"]), array(ValueType.UINT32, []),
    array(ValueType.INT32, [0]), array(ValueType.INT32, [-1] * 2), array(ValueType.INT64, [2**62] * 7),
    array(ValueType.FLOAT32, [NAN] * 2), array(ValueType.BOOL, [True] * 4), array(ValueType.UINT8, [1, 2, 3]))
JSON_VALUES = (None, True, 0, 1, -1, 2**31, 2**62, 10**400, 1.5, -0.5, 1e300, 1e-300, "", "x", "../x", "a\x07\n\x1b[2J",
               "\ud800", [], [0], [None], ["x"], [1, 2], [[]], {}, {"x": 1}, [{}], ["x"] * 9)
NAMES = ("../x", "blk.7.attn_q.weight", "blk.99999999.attn_q.weight", "output.weight", "rope_freqs.weight", "x" * 63)


class Model:
    """A GGUF file of the zoo, from which changed ones are written."""

    def __init__(self, source: Path, out: Path) -> None:
        read, raw = read_gguf(source), source.read_bytes()
        self.metadata: Metadata = read.metadata
        self.tensors = {t.name: (t.type, t.shape) for t in read.tensors.values()}
        self.data = {t.name: raw[t.offset:t.offset + t.nbytes] for t in read.tensors.values()}
        self.out = out

    def change(self, keys: Metadata | None = None, tensors: dict[str, tuple] | None = None, without: str = "") -> Any:
        """The error, if any, that planning the file gives with these keys and tensors, and without one."""
        metadata = {k: v for k, v in {**self.metadata, **(keys or {})}.items() if k != without}
        rows = {n: t for n, t in {**self.tensors, **(tensors or {})}.items() if n != without}
        try:
            laid = layout((name, kind, shape) for name, (kind, shape) in rows.items())
        except GgufxError:  # no such file can be
            return None
        with open(self.out, "wb") as file:
            start = file.write(encode_header(metadata, laid))
            for place in laid:
                file.seek(start + place.offset)
                file.write(self.data.get(place.name, b"")[:place.nbytes])
            file.truncate(max((start + t.offset + t.nbytes for t in laid), default=start))
        return ends_well(plan_gguf_to_hf, self.out, self.out.parent / "back", HfOptions())


def ends_well(plan: Callable[..., ConversionPlan], *args: Any) -> GgufxError | None:
    """Our error, which can be printed; None where there is a plan, whose files lie in their folder and can be written."""
    try:
        made = plan(*args)
    except GgufxError as error:
        found = error
    else:
        found = None
    if found is not None:
        assert all(line.isprintable() for line in str(found).split("\n"))
        return found
    "".join(made.notes).encode()
    assert not any(os.path.relpath(output.path, args[1].parent).startswith("..") for output in made.outputs)
    return None


def some(seed: object, items: Any, count: int) -> list[Any]:
    return random.Random(str(seed)).sample(list(items), min(count, len(items)))


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The places inside a JSON value: of long objects the first, of lists the ends."""
    keys = list(value)[:30] if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys if isinstance(value, dict) else sorted({*keys[:1], *keys[-1:]}):
        yield (*path, key)
        yield from places(value[key], (*path, key))


def changed(document: dict, count: int) -> Iterator[dict]:
    """Copies of the document: each place takes some unfit values, or goes, or gets another name."""
    for path in places(document):
        for value in some(path, (*JSON_VALUES, "gone", "gone"), count):
            made = copy.deepcopy(document)
            holder = made
            for key in path[:-1]:
                holder = holder[key]
            if value == "gone":
                del holder[path[-1]]
            elif value == "../x" and isinstance(holder, dict):
                holder[value] = holder.pop(path[-1])
            else:
                holder[path[-1]] = value
            yield made


@pytest.fixture(scope="module")
def model(zoo, tmp_path_factory) -> Callable[..., Model]:
    made: dict[tuple, Model] = {}

    def get(name: str, plain: bool) -> Model:
        if (name, plain) not in made:
            path = tmp_path_factory.mktemp(name) / "m.gguf"
            execute(plan_hf_to_gguf(zoo(name), path, GgufOptions(plain=plain)))
            made[name, plain] = Model(path, path.with_name("changed.gguf"))
        return made[name, plain]

    return get


@pytest.mark.parametrize("name", MODELS)
def test_key_values(model, name):
    held = model(name, MODELS[name])
    for key, value in held.metadata.items():
        held.change(without=key)
        cut = [array(value.item_type, list(value.data)[:-1])] if value.type is ValueType.ARRAY else []
        for unfit in (*some(name + key, VALUES, 2), *cut):
            held.change({key: unfit})


@pytest.mark.parametrize("name", MODELS)
def test_tensors(model, name):
    held = model(name, MODELS[name])
    for tensor in some(name, held.tensors, 5):
        kind, shape = held.tensors[tensor]
        held.change(without=tensor)
        for other in some(tensor, NAMES, 2):
            held.change(tensors={other: (kind, shape)})
        for unfit in ((), (0,), shape[::-1], shape[:-1], (*shape, 1), (0, *shape[1:]), (2**30, *shape[1:]), (1, 1, 1, 1)):
            held.change(tensors={tensor: (kind, unfit)})


@pytest.mark.parametrize(("name", "key", "count"), [
    ("gpt2-buffers", "ggufx.source", 4), ("roberta", "ggufx.source", 4), ("qwen35-mtp", "ggufx.source", 1),
    ("qwen35-mtp", "ggufx.config", 1), ("gpt2-buffers", "ggufx.tokenizer", 1), ("roberta", "ggufx.tokenizer_config", 1)])
def test_what_ggufx_wrote_itself(model, name, key, count):
    held = model(name, False)
    for text in ("", "null", "[1]", "{}", '{"a":NaN}', "[" * 100000, "9" * 5000):
        held.change({key: string(text)})
    for document in changed(json.loads(held.metadata[key].data), count):
        held.change({key: string(json.dumps(document))})


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_checkpoint(zoo, tmp_path, name):
    folder = Path(shutil.copytree(zoo(name), tmp_path / name))
    for file, count in (("config.json", 2), ("tokenizer.json", 1), ("tokenizer_config.json", 1)):
        original = (folder / file).read_text(encoding="utf-8")
        for document in changed(json.loads(original), count):
            (folder / file).write_text(json.dumps(document))
            ends_well(plan_hf_to_gguf, folder, tmp_path / "m.gguf", GgufOptions())
        (folder / file).write_text(original, encoding="utf-8")


@pytest.fixture
def adapter(zoo, tmp_path) -> tuple[Path, Path]:
    """Folders of a base model's config and of an adapter for two of its weights."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    for made in (base, folder):
        made.mkdir()
    shutil.copy(zoo("gptoss-mxfp4") / "config.json", base)
    stem = "base_model.model.model.layers.1"
    save_file({f"{stem}.{name}.weight": np.ones(shape, np.float32) for name, shape in {
        "self_attn.q_proj.lora_A": (2, 64), "self_attn.q_proj.lora_B": (128, 2), "mlp.experts.lora_A": (8, 64),
        "mlp.experts.lora_B": (64, 8)}.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "lora_alpha": 8, "r": 2, "bias": "none", "use_rslora": True, "alpha_pattern": {".*q_proj": 4},
        "target_parameters": ["mlp.experts.down_proj"], "alora_invocation_tokens": [1, 2], "use_dora": False}))
    return base, folder


def test_settings_of_an_adapter(adapter, tmp_path):
    def plan() -> GgufxError | None:
        return ends_well(lambda base, out: plan_lora_to_gguf(base, adapter[1], out, LoraOptions()), adapter[0],
                         tmp_path / "a.gguf")

    assert plan() is None
    for file, count in ((adapter[1] / "adapter_config.json", 9), (adapter[0] / "config.json", 3)):
        original = file.read_text()
        for document in changed(json.loads(original), count):
            file.write_text(json.dumps(document))
            plan()
        file.write_text(original)
    for unfit in (".?" * 200 + "z", "(.|..)" * 70 + "z", "*" * 10**6, "(a+)+"):
        config = json.loads((adapter[1] / "adapter_config.json").read_text())
        (adapter[1] / "adapter_config.json").write_text(json.dumps({**config, "alpha_pattern": {unfit: 1}}))
        assert "too complex a pattern" in str(plan())
    for shape in ((), (2,), (0, 64), (2, 2, 64)):
        save_file({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": np.ones(shape, np.float32),
                   "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": np.ones((128, 2), np.float32)},
                  adapter[1] / "adapter_model.safetensors")
        assert plan() is not None
