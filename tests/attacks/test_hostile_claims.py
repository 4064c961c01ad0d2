"""What a file claims and cannot be true: each claim is refused by name, before anything is sized by it."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.errors import GgufxError, InputError
from ggufx.converters.io.values import Value, ValueType, array, f32, string, u32, u64
from ggufx.converters.ops import Crop, Split
from ggufx.converters.ops.index import IndexMap
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.planners.kept_tensors import rows_outside
from ggufx.converters.rules.hparam_rules import short
from ggufx.converters.run.execute import execute
from ggufx.converters.tokenizer.merges import merges_of_pieces
from ggufx.converters.tokenizer.restore import NotRestorable, unfold
from zoo.changed import change_folder, change_gguf

HUGE = 2**50
MANY = 15 * HUGE  # also where thirds and fifths are cut off
F64, I32 = ValueType.FLOAT64, ValueType.INT32


def floats(*shape: int, value: float = 1.0) -> tuple:
    return "F32", shape, np.full(shape, value, np.float32)


def source(**fields):
    """ggufx.source with other fields."""
    return lambda keys: keys.update({"ggufx.source": string(json.dumps(json.loads(keys["ggufx.source"].data) | fields))})


def these(**values):
    """Key-values, `.` spelled `__`; None takes one away."""
    def change(keys):
        for name, value in values.items():
            keys.pop(name.replace("__", "."), None)
            if value is not None:
                keys[name.replace("__", ".")] = value
    return change


def tensor(name: str, made: tuple):
    return lambda held: held.update({name: made})


HEAD = "lm_head.weight"
KEPT = {"dtype": "BF16", "rows": None}
CASES = {  # model, plain, change of the keys, change of the tensors, what is said
    "blocks ahead": ("qwen35-mtp", True, these(qwen35__nextn_predict_layers=u64(2**62)), None, "no number of blocks"),
    "blocks ahead, a list": ("qwen35-mtp", True, these(qwen35__nextn_predict_layers=array(I32, [1, 1])), None,
                             "no number of blocks"),
    "a list that chooses": ("deepseek2", True, these(deepseek2__expert_gating_func=array(I32, [2, 2])), None,
                            "gating_func"),
    "a kind before the rules": ("gemma3", True, these(gemma3__attention__head_count=string("x")), None,
                                "head_count has the wrong type"),
    "a list times a size": ("deepseek2", True, these(deepseek2__attention__key_length_mla=array(I32, [1, 1]),
                                                     deepseek2__attention__head_count=u32(2**31)), None,
                            "key_length_mla|whole number|problems"),
    "no heads": ("deepseek2", True, these(deepseek2__attention__head_count=u32(0)), None,
                 r"the shape does not fit.*expected \[0, 32\]"),
    "nan": ("llama", True, these(llama__attention__layer_norm_rms_epsilon=f32(float("nan"))), None, "wrong type.*found nan"),
    "beyond float32": ("llama", True, these(llama__attention__layer_norm_rms_epsilon=Value(F64, 1e300)), None, "wrong type"),
    "beyond float32, rope": ("llama", True, these(llama__rope__freq_base=Value(F64, 1e300)), None, "no finite number"),
    "no dimensions": ("llama", True, None, tensor("blk.0.attn_norm.weight", floats()), "none of them is 0"),
    "an embedding without dimensions": ("llama", True, None, tensor("token_embd.weight", floats()), "none of them is 0"),
    "no elements": ("llama", True, None, tensor("blk.0.attn_norm.weight", floats(0)), "none of them is 0"),
    "settings without end": ("llama-llama3", True, None, tensor("rope_freqs.weight", floats(5000)), "too many values"),
    "settings that are no numbers": ("llama-llama3", True, None, tensor("rope_freqs.weight", floats(8, value=float("nan"))),
                                     "stands for settings and cannot be read"),
    "an id that is a list": ("llama", False, these(ggufx__source=None, tokenizer__ggml__bos_token_id=array(I32, [1, 1])), None,
                             "bos_token_id: wrong type"),
    "no JSON": ("llama", False, these(ggufx__generation_config=array(I32, [1, 1])), None, "not JSON"),
    "no class": ("llama", False, these(ggufx__config=string('{"architectures": []}')), None, "names no architecture"),
    "kept elsewhere": ("llama", False, source(kept={HEAD: KEPT | {"shape": [4, 4]}}), None, "keeps another tensor"),
    "kept as another type": ("llama", False, source(kept={HEAD: {"dtype": "F16", "rows": None, "shape": [64, 64]}}), None,
                             "keeps another tensor"),
    "kept in other items": ("llama", False, lambda keys: (
        source(kept={"x": KEPT | {"shape": [2]}})(keys), keys.update({"ggufx.kept.x": array(I32, [7, 7, 7, 7])})), None,
        "does not hold"),
    "kept without end": ("llama", False, source(kept={"x": KEPT | {"shape": [HUGE, 2**40]}}), None, "."),
    "weights of whole numbers": ("llama", False, source(dtypes={HEAD: "I64"}), None, "gives a weight the wrong type"),
    **{f"damaged {field}": ("llama", False, source(**{field: value}), None, "ggufx.source is damaged") for field, value in {
        "dtype": "F33", "dtypes": {"a": []}, "names": {"a": ""}, "aliases": [["a"]], "layouts": [1], "dropped": {"a\n": ""},
        "kept": {"a": {}}, "other": 1}.items()},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_of_a_gguf_file(zoo, tmp_path, case):
    name, plain, keys, tensors, said = CASES[case]
    execute(plan_hf_to_gguf(zoo(name), tmp_path / "m.gguf", GgufOptions(plain=plain)))
    path = change_gguf(tmp_path / "m.gguf", tmp_path / "changed.gguf", tensors, keys)
    with pytest.raises(GgufxError, match=said):
        plan_gguf_to_hf(path, tmp_path / "back", HfOptions())


def test_the_embedding_tells_how_large_the_vocabulary_is(zoo, tmp_path):
    """A key that says otherwise made a checkpoint that transformers refuses."""
    execute(plan_hf_to_gguf(zoo("llama"), tmp_path / "m.gguf", GgufOptions(plain=True)))
    path = change_gguf(tmp_path / "m.gguf", tmp_path / "changed.gguf", None, these(llama__vocab_size=u32(HUGE >> 20)))
    plan = plan_gguf_to_hf(path, tmp_path / "back", HfOptions())
    execute(plan)
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    rows = next(t.shape[0] for t in plan.tensors if t.name == "model.embed_tokens.weight")
    assert config["vocab_size"] == rows
    assert any("llama.vocab_size" in note for note in plan.notes)


def test_of_rows_and_columns():
    assert rows_outside(Crop(2), HUGE) == [[0, 2]]
    ops = {op for spec in SPECS for rule in spec.tensors for op in rule.ops if isinstance(op, IndexMap)}
    ops |= {Split("n", groups=2, join=True), Split("n")}
    for op in ops:
        bound = (op.inverse if op.undo else op).bind(defaultdict(lambda: 2))
        shapes = bound.shape([(MANY, MANY)])
        assert bound.inverse.shape(shapes) == [(MANY, MANY)] or isinstance(op, Crop)
    assert Split(HUGE // 4, groups=2, join=True).shape([(HUGE, 2)]) == [(HUGE, 2)]
    with pytest.raises(ValueError, match="too many parts"):
        Split(HUGE // 4).shape([(HUGE, 2)])


def test_of_the_elements_of_a_checkpoint(zoo, tmp_path):
    def empty(held):
        for name in held:
            if "mlp." in name:
                held[name] = held[name][:, :0] if "down" in name else held[name][:0]

    folder = change_folder(zoo("llama"), tmp_path / "m", empty, lambda config: config.update(intermediate_size=0))
    with pytest.raises(GgufxError, match="has no elements"):
        plan_hf_to_gguf(folder, tmp_path / "m.gguf", GgufOptions())


@pytest.mark.parametrize(("changes", "said"), [
    ({"rope_parameters": {"rope_type": "llama3", "factor": 0, "low_freq_factor": 1, "high_freq_factor": 4}}, "rotary"),
    ({"num_hidden_layers": 2**40}, "no number of blocks")])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_of_config_json(zoo, tmp_path, changes, said):
    folder = change_folder(zoo("llama-llama3"), tmp_path / "m", config=lambda config: config.update(changes))
    with pytest.raises(GgufxError, match=said):
        plan_hf_to_gguf(folder, tmp_path / "m.gguf", GgufOptions())


def test_of_a_post_processor(zoo, tmp_path):
    folder = shutil.copytree(zoo("roberta"), tmp_path / "m")
    (folder / "tokenizer_config.json").unlink()
    document = json.loads((folder / "tokenizer.json").read_text())
    document["post_processor"] = {"type": "RobertaProcessing", "cls": [["<s>"], 0], "sep": ["</s>", 2]}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="cls: wrong form"):
        plan_hf_to_gguf(folder, tmp_path / "m.gguf", GgufOptions())


@pytest.mark.parametrize("ranges", [[[0, 2**62]], [[0, 1]] * 10**6, [[-2**62, 1]]])
def test_of_ids(ranges):
    with pytest.raises(NotRestorable):
        list(unfold({"groups": [[None, ranges]], "texts": {}}, {0: "a", 1: "b"}.get))


def test_of_pieces_of_a_million_characters():
    pieces = {"a" * (1 << 20): 0, "ab": 1, "a": 2, "b": 3, "": 4}
    assert list(merges_of_pieces(pieces, pieces.__getitem__, "longest")) == [["a", "b"]]


def test_configs_of_what_utf8_and_json_do_not_hold(zoo, tmp_path):
    """Half of a surrogate pair, and infinity as Python writes it, come back."""
    folder = change_folder(zoo("llama"), tmp_path / "m", config=lambda c: c.update(note="\ud800", limit=[0.0, float("inf")]))
    execute(plan_hf_to_gguf(folder, tmp_path / "m.gguf", GgufOptions()))
    plan = plan_gguf_to_hf(tmp_path / "m.gguf", tmp_path / "back", HfOptions(dtype="f32"))
    made = json.loads(next(o.head for o in plan.outputs if o.path.name == "config.json"))
    assert made["note"] == "\ud800"
    assert made["limit"] == [0.0, float("inf")]


def test_what_is_said_of_it_can_be_printed():
    error = InputError("a\x1b[2J", file="f\u202e", tensor="t\n", found="\ud800\x07", hint="one\ntwo")
    assert str(error) == "f\\u202e: tensor t\\n: a\\x1b[2J (found \\ud800\\x07)\n  one\ntwo"
    with pytest.raises(ValueError, match="no finite number"):
        short(1e300)
