"""Recipes against llama-quantize's own choices: golden answers everywhere, the library itself where it can be had."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from ggufx.quant.formats import FORMATS
from ggufx.quant.recipes.recipe import (
    FILE_TYPES,
    ModelFacts,
    Options,
    Role,
    TensorShape,
    bits_per_weight,
    choose,
    file_type,
    parse_tensor_type,
    parse_tensor_types,
    role,
    sizes,
)

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("golden_recipes", ROOT / "scripts" / "golden" / "recipes.py")
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)
ANSWERS = json.loads(golden.GOLDEN.read_text())


def shapes(description):
    return [TensorShape(*row) for row in golden.tensors_of(description)]


def options_of(row: dict) -> Options:
    return Options(**{**row, "tensor_types": tuple(map(tuple, row.get("tensor_types", ())))})


def facts_of(description) -> ModelFacts:
    return ModelFacts(**description["facts"])


@pytest.mark.parametrize("model", golden.MODELS)
def test_types_equal_llama_quantize(model):
    description = golden.MODELS[model]
    tensors, facts, wrong = shapes(description), facts_of(description), []
    cases = [case for case in golden.cases() if case[0] == model]
    for _, option, name in cases:
        try:
            choices = choose(name, tensors[::-1], facts, options_of(golden.OPTIONS[option]))
            found = golden.digest({choice.name: choice.type for choice in choices})
        except ValueError:
            found = "refused"
        if found != ANSWERS[f"{model} / {option} / {name}"]:
            wrong.append((option, name, found, ANSWERS[f"{model} / {option} / {name}"]))
    assert not wrong
    assert len(cases) in (94, 102)


@pytest.fixture(scope="module")
def oracle():
    library = os.environ.get("GGUFX_LIBGGML")
    if not library or not list(Path(library).parent.glob("libllama.*so")):
        pytest.skip("GGUFX_LIBGGML names no libggml-base.so with libllama beside it")
    return golden.Oracle(Path(library))


def test_the_library_agrees_now(oracle, tmp_path):
    """One case per model and option against the library itself, so that stale golden answers are noticed."""
    for number, model in enumerate(golden.MODELS):
        for option in dict.fromkeys(option for name, option, _ in golden.cases() if name == model):
            name = ("Q4_K_M", "IQ2_XS", "Q3_K_M", "IQ3_XXS", "IQ4_XS", "Q2_K_S", "Q5_K_M")[number % 7]
            types = oracle.types(golden.MODELS[model], name, golden.OPTIONS[option], tmp_path)
            choices = choose(name, shapes(golden.MODELS[model]), facts_of(golden.MODELS[model]),
                             options_of(golden.OPTIONS[option]))  # fmt: skip
            assert {choice.name: choice.type for choice in choices} == types


PATTERNS = [
    "attn_v", "^blk", "^attn", "weight$", "v.weight$", r"blk\.(1|2)\.", "blk.[0-1].ffn_(up|gate)", "a{2}", "t{2}n",
    "t{2,}n", "t{1,1}n", "t{3,}", "[[:alpha:]]_norm", "[[:digit:]]", "[^[:alpha:]._]", r"\d\.ffn", r"[\d]\.ffn",
    r"\bffn", r"\bfn", r"(f)\1n", r"(t)\1n", "ffn(?=_up)", "ffn(?!_up|_gate)", "a*+", "(?:at)+tn", "a|*b", "*a", "a{",
    "a{2", "a{,2}", "(a", "a)", "[a", "[]", "[^]", "a]", "a}", "(?<=a)b", "(?i)attn", r"\2(a)", "[z-a]", "[a-]",
    "[-v]", "x{1,0}", "^*a", r"\x61ttn", r"attn", r"\x6", r"\.", r"\_", "a??t", "at*?t", "", "|attn_v",
    "(attn_q|attn_k).weight", r"\z", r"[\b]", "[[.a.]]ttn", "[[=a=]]ttn", "[[:foo:]]", "ttn{1}+_", "$blk", "(^blk)",
    "(^attn)", ".{30}", ".{17}$", r"\w+\.\w+$",
]  # fmt: skip


def test_patterns_mean_what_they_mean_to_llama_quantize(oracle, tmp_path):
    description = golden.MODELS["gqa8 tied"]
    for pattern in PATTERNS:
        row = {"tensor_types": [[pattern, "Q5_0"]]}
        try:
            expected = oracle.types(description, "Q4_K_M", row, tmp_path)
        except ValueError:
            expected = None
        try:
            choices = choose("Q4_K_M", shapes(description), facts_of(description), options_of(row))
            found = {choice.name: choice.type for choice in choices}
        except ValueError:
            found = None
        assert found == expected, pattern


@pytest.mark.parametrize("name", ["meta-llama-3.1-70b-instruct", "qwen3-0.6b", "qwen3-14b", "gemma-3-4b-it"])
def test_snapshots_of_real_models(name):
    """llama.cpp's own snapshots name the tensors that leave the default type; these models' rows all divide by 256."""
    folder = os.environ.get("GGUFX_LLAMA_CPP")
    path = Path(folder or ".") / "tests" / "snapshots" / f"{name}.schema"
    if not folder or not path.exists():
        pytest.skip("GGUFX_LLAMA_CPP names no llama.cpp checkout with snapshots")
    text = path.read_text()
    numbers = {key: int(value) for key, value in re.findall(r"(n_\w+)=(\d+)", text)}
    sections = re.split(r"^\[(\w+)\] (\w+)$", text, flags=re.M)[1:]
    answers = {
        title: dict(line.rsplit(" ", 1) for line in body.splitlines() if line)
        for title, body in zip(sections[::3], sections[2::3], strict=True)
    }
    names = {tensor for answer in answers.values() for tensor in answer}
    blocks = range(numbers["n_layer"])
    # The gates of the outer layers never leave it, but they count.
    names |= {f"blk.{b}.ffn_{part}.weight" for b in blocks for part in ("gate", "up")}
    arch = re.sub(r"[-_.].*", "", name).replace("meta", "llama")
    facts = ModelFacts(arch, numbers["n_layer"], 0, numbers["n_head"], numbers["n_head_kv"])
    tensors = [TensorShape(tensor, (256, 256), "BF16") for tensor in sorted(names)]
    assert len(answers) == 33
    for title, default in zip(sections[::3], sections[1::3], strict=True):
        if title in FILE_TYPES:
            choices = choose(title, tensors, facts)
            assert {c.name: c.type for c in choices if c.type != default.upper()} == {
                tensor: type_.upper() for tensor, type_ in answers[title].items()
            }, title


def test_file_type_names():
    assert file_type("q4_k_m") is file_type("Q4_K") is file_type(15) is file_type("15") is FILE_TYPES["Q4_K_M"]
    assert file_type("iq2_s").default == "IQ2_XS"
    assert file_type("0").name == "F32"
    with pytest.raises(ValueError, match=r"did you mean .*Q4_K_M"):
        file_type("Q4_K_N")
    with pytest.raises(ValueError, match="unknown file type 'nonsense'; known: F32"):
        file_type("nonsense")
    assert len({row.number for row in FILE_TYPES.values()}) == len(FILE_TYPES)


def test_tensor_type_options():
    assert parse_tensor_type("ATTN_V=q8_0") == ("attn_v", "Q8_0")
    assert parse_tensor_types("a=q4_k\n  b=NVFP4\t") == (("a", "Q4_K"), ("b", "NVFP4"))
    with pytest.raises(ValueError, match="expected PATTERN=TYPE"):
        parse_tensor_type("attn_v")
    with pytest.raises(ValueError, match="nothing quantizes to tensor type Q8_K"):
        parse_tensor_type("attn_v=q8_k")
    with pytest.raises(ValueError, match="b=q8_0") as caught:
        parse_tensor_types("a=q4_9 (b=q8_0 c=q8_0")
    assert "did you mean Q4_" in str(caught.value)
    assert "missing )" in str(caught.value)


def test_a_fallback_is_told():
    tensors = [TensorShape("blk.0.ffn_up.weight", (64, 320), "BF16"), TensorShape("output_norm.weight", (320,), "F32")]
    up, norm = choose("Q4_K_M", tensors, ModelFacts("llama", 1))
    assert (up.type, up.wanted, up.fell_back, up.eligible) == ("Q5_0", "Q4_K", True, True)
    assert (norm.type, norm.wanted, norm.fell_back, norm.eligible) == ("F32", "F32", False, False)
    assert sizes([up, norm]) == {"Q5_0": (1, 64 * 320, 64 * 320 // 32 * 22), "F32": (1, 320, 1280)}
    assert bits_per_weight([up, norm]) == 8 * (14080 + 1280) / (64 * 320 + 320)
    assert bits_per_weight([]) == 0.0


def test_every_problem_in_one_error():
    tensors = [
        TensorShape("blk.0.attn_q.weight", (64, 320), "BF16"),
        TensorShape("blk.9.ffn_up_exps.weight", (4, 64, 256), "BF16"),
        TensorShape("ffn_up.weight", (64, 256), "BF16"),
        TensorShape("blk.0.x.weight", (64, 256), "I32"),
        TensorShape("blk.0.x.weight", (64, 256), "F32"),
    ]
    options = Options(tensor_types=(("attn_q", "NVFP4"),))
    with pytest.raises(ValueError, match="listed twice") as caught:
        choose("Q4_K_M", tensors, ModelFacts("llama", 2, expert_count=4), options)
    text = str(caught.value)
    assert "blk.0.attn_q.weight: " not in text  # 320 is a multiple of 64
    assert "blk.9.ffn_up_exps.weight: its layer must be in 0..1" in text
    assert "ffn_up.weight: its layer" in text
    assert "blk.0.x.weight: I32 data cannot become Q4_K" in text
    assert "blk.0.x.weight: listed twice" in text
    output = [TensorShape("output.weight", (2, 320), "F32")]
    with pytest.raises(ValueError, match=r"output\.weight: a row of 320 does not divide into Q4_K's blocks"):
        choose("Q4_0", output, ModelFacts("llama"), Options(output_tensor_type="Q4_K"))


def test_imatrix_is_required_where_llama_quantize_says_so():
    names = ("token_embd.weight", "output.weight", "blk.0.ffn_up.weight")
    tensors = [TensorShape(name, (256, 256), "BF16") for name in names]

    def required(name, **options):
        return [c.requires_imatrix for c in choose(name, tensors, ModelFacts("llama", 1), Options(**options))]

    assert required("Q2_K_S") == [False, False, True]
    assert required("Q2_K") == [False, False, False]
    assert required("IQ2_XXS", token_embedding_type="IQ2_XXS") == [False, False, True]
    assert required("IQ3_S") == [False, False, False]
    assert required("COPY") == [False, False, False]


def test_copy_and_requantization():
    types = (("up", "Q8_0"), ("down", "Q4_K"))
    tensors = [TensorShape(f"blk.0.ffn_{part}.weight", (256, 256), type_) for part, type_ in types]
    assert [c.type for c in choose("COPY", tensors, ModelFacts("llama", 1))] == ["Q8_0", "Q4_K"]
    assert [c.requantizes for c in choose("Q4_K_S", tensors, ModelFacts("llama", 1))] == [True, False]


def test_counting_follows_blocks_not_the_order_given():
    names = [f"blk.{b}.attn_v.weight" for b in range(12)]
    tensors = [TensorShape(name, (256, 256), "BF16") for name in sorted(names)]  # 0, 1, 10, 11, 2 ...
    facts = ModelFacts("llama", 12)

    def raised(**keywords):
        return [c.name for c in choose("Q3_K_M", tensors, facts, **keywords) if c.type == "Q5_K"]

    assert raised() == ["blk.0.attn_v.weight", "blk.1.attn_v.weight"]
    assert [c.name for c in choose("Q4_K_S", tensors, facts) if c.type == "Q5_K"] == [
        "blk.0.attn_v.weight", "blk.1.attn_v.weight", "blk.2.attn_v.weight", "blk.3.attn_v.weight"]  # fmt: skip
    kept = [c.name for c in choose("Q4_K_S", tensors, facts, keep_order=True) if c.type == "Q5_K"]
    assert kept == [tensor.name for tensor in tensors[:4]]


def test_model_facts_from_metadata():
    facts = ModelFacts.from_metadata(
        {"general.architecture": "nemotron", "nemotron.block_count": 52, "nemotron.attention.head_count": [0, 32],
         "nemotron.attention.head_count_kv": [0, 8]})  # fmt: skip
    assert (facts.block_count, facts.head_count, facts.grouping) == (52, 0, 0)
    facts = ModelFacts.from_metadata({"general.architecture": "hunyuan-dense", "hunyuan-dense.expert_count": 1,
                                      "hunyuan-dense.attention.head_count": 8})  # fmt: skip
    assert (facts.expert_count, facts.head_count_kv, facts.grouping) == (0, 8, 1)


def test_roles():
    assert role("blk.3.cross_attn_v.weight") is Role.ATTN_V
    assert role("blk.3.ffn_gate_up_exps.weight") is Role.FFN_GATE
    assert role("blk.3.attn_v_b.weight") is Role.OTHER


def test_every_rule_names_a_real_type():
    from ggufx.quant.recipes.mixtures import FALLBACK, MIXTURES

    assert MIXTURES.keys() <= FILE_TYPES.keys()
    types = {type_ for rows in MIXTURES.values() for rules in rows.values() for _, type_ in rules if type_}
    assert types | FALLBACK.keys() | set(FALLBACK.values()) <= FORMATS.keys()
