"""Encoders and classifiers: labels, the runtime's own patterns, which of several tables, what is refused and what is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters import arch
from ggufx.converters.errors import GgufxError, raise_all
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.rules.facts import GgufFacts
from ggufx.converters.rules.hf_config import canonical
from ggufx.converters.rules.hparams import read_hparams, write_hparams
from ggufx.converters.rules.spec import ArchSpec

import ggufx

BERT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 130, "layer_norm_eps": 1e-5, "pad_token_id": 1, "vocab_size": 500}
NEO = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_length": 128, "vocab_size": 500}


def table(cls: str, config: dict) -> ArchSpec:
    return arch.for_config({"architectures": [cls], **config}, "config.json")


def written(cls: str, config: dict) -> tuple[dict, list[str]]:
    """The architecture's keys without prefix, and the notes."""
    spec, notes, problems = table(cls, config), [], []
    keys = write_hparams(spec, canonical(config, spec, "config.json"), notes, problems)
    raise_all(problems)
    return {key.removeprefix(f"{spec.name}."): value.data for key, value in keys.items()}, notes


def back(cls: str, config: dict) -> dict:
    """The config that the keys of a config give back."""
    spec, problems = table(cls, config), []
    keys = {f"{spec.name}.{key}": value for key, value in written(cls, config)[0].items()}
    infos = {"token_embd.weight": StoredTensor("token_embd.weight", "F32", (500, 64), Path("x"), 0, 0)}
    found, _ = read_hparams(spec, GgufFacts.of(keys, infos), "x", problems)
    raise_all(problems)
    return found


@pytest.mark.parametrize(("given", "labels"), [
    ({}, ["LABEL_0", "LABEL_1"]), ({"num_labels": 1}, ["LABEL_0"]),
    ({"id2label": {str(i): f"l{i}" for i in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)}}, [f"l{i}" for i in range(11)]),
])
def test_a_classifier_has_labels_in_the_order_of_their_numbers(given: dict, labels: list[str]):
    """The runtime counts them: without the two that every class has, it would expect one score."""
    keys, _ = written("BertForSequenceClassification", BERT | given)
    assert list(keys["classifier.output_labels"]) == labels
    assert back("BertForSequenceClassification", BERT | given)["id2label"] == {str(i): text for i, text in enumerate(labels)}


@pytest.mark.parametrize(("given", "labels"), [
    ({}, None), ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, None), ({"id2label": {"0": "LABEL_0"}}, ["LABEL_0"])])
def test_an_encoder_has_the_labels_that_its_config_was_given(given: dict, labels: list[str] | None):
    assert written("BertModel", BERT | given)[0].get("classifier.output_labels") == labels


@pytest.mark.parametrize(("given", "pattern"), [
    ({}, None), ({"global_attn_every_n_layers": 3}, 3), ({"global_attn_every_n_layers": 2}, 2),
    ({"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]}, None),
    ({"layer_types": ["sliding_attention", "full_attention"] * 2}, [1, 0, 1, 0]),
])
def test_modernbert_says_which_blocks_look_at_everything(given: dict, pattern: object):
    config = {k: v for k, v in BERT.items() if k != "pad_token_id"} | {"num_hidden_layers": 4} | given
    spec = table("ModernBertModel", config)
    assert written("ModernBertModel", config)[0].get("attention.sliding_window_pattern") == pattern
    assert back("ModernBertModel", config)["layer_types"] == canonical(config, spec, "x")["layer_types"]


def test_modernbert_rotates_by_the_bases_of_either_spelling():
    new = {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 2e4}}}
    old = {"global_rope_theta": 5e5, "local_rope_theta": 2e4}
    for given in (new, old):
        keys, _ = written("ModernBertModel", BERT | given)
        assert (keys["rope.freq_base"], keys["rope.freq_base_swa"]) == (5e5, 2e4)


@pytest.mark.parametrize(("cls", "given", "name"), [
    ("XLMRobertaModel", {}, "bert"), ("XLMRobertaModel", {"lora_adaptations": ["a"]}, "jina-bert-v3"),
    ("NomicBertModel", {}, "nomic-bert"), ("NomicBertModel", {"moe_every_n_layers": 2}, "nomic-bert-moe"),
])
def test_settings_tell_the_tables_of_one_class_apart(cls: str, given: dict, name: str):
    assert table(cls, given).name == name


@pytest.mark.parametrize("inner", range(3, 400, 7))
def test_the_width_of_neobert_comes_back_as_one_that_means_the_same(inner: int):
    rows = written("NeoBERT", NEO | {"intermediate_size": inner})[0]["feed_forward_length"]
    stated = back("NeoBERT", NEO | {"intermediate_size": inner})["intermediate_size"]
    assert written("NeoBERT", NEO | {"intermediate_size": stated})[0]["feed_forward_length"] == rows


@pytest.mark.parametrize(("cls", "given", "said"), [
    ("DistilBertForSequenceClassification", {}, "tanh behind pre_classifier"),
    ("XLMRobertaModel", {"lora_adaptations": ["a"], "position_embedding_type": "rotary"}, "updates of its tasks"),
    ("ChameleonForConditionalGeneration", {"swin_norm": True, "num_key_value_heads": 4, "rms_norm_eps": 1e-5}, "swin_norm"),
])
def test_what_the_runtime_does_otherwise_is_said(cls: str, given: dict, said: str):
    assert any(said in note for note in written(cls, BERT | given)[1])


def test_pieces_of_camembert_without_tokenizer_json_are_refused(zoo, tmp_path):
    """Its numbering is not XLM-R's, and its SentencePiece file does not tell."""
    folder = shutil.copytree(zoo("camembert"), tmp_path / "camembert")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(GgufxError, match=r"only tokenizer\.json tells"):
        ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")  # XLM-R's own numbering is in its file


def test_rwkv_halves_what_runs_through_every_so_many_blocks():
    spec = arch.BY_CLASS["Rwkv6ForCausalLM"][0]
    factors = spec.sizes["halvings"]({"rescale_every_n_layers": 2, "block_count": 5})
    assert np.array_equal(factors, [1, 1, 2, 2, 4])
    assert spec.sizes["halvings"]({"rescale_every_n_layers": 0, "block_count": 2}) == [1, 1]
