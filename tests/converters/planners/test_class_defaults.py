"""The law of config.json on the way back: what the file says is what transformers' class then holds.

Keys that config.json lacks are filled in by the class; where its default is another value than the file's, it has to be
written out. Judged by the classes themselves, for every model of the zoo and for the same file with every key left out
that says what the runtime takes anyway.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from ggufx.converters import arch
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.values import Metadata, u32
from ggufx.converters.planners import gguf_to_hf
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.rules.hf_config import canonical, full_attention_rope, of_text_part, text_settings
from ggufx.converters.verify.runtime import Runtime, alike
from zoo.changed import change_gguf
from zoo.models import MODELS

# Of the checkpoint, not of the model.
OTHERS = ("architectures", "transformers_version", "dtype", "quantization_config")
IN_ROPE_PARAMETERS = ("rope_theta", "rope_scaling", "rope_local_base_freq", "partial_rotary_factor",
                      "rotary_emb_base", "rotary_pct", "global_rope_theta", "local_rope_theta")
LAYERS = {"mamba": "linear_attention", "attention": "full_attention"}  # what the class calls kinds of layers by itself
HELD_ANYWAY = {"t5": "tie_word_embeddings", "mt5": "tie_word_embeddings", "umt5": "tie_word_embeddings",
               "cohere2_moe": "first_k_dense_replace",  # whatever is said, or under another name
               "qwen4_exp": "layer_types", "qwen4_exp_text": "layer_types",  # names full attention by its indexer
               "deepseek_v4": "compress_ratios"}  # without those of the layers of multi-token prediction


def written(path: Path) -> dict:
    """config.json as gguf-to-hf would write it."""
    plan = plan_gguf_to_hf(path, Path("nowhere"), HfOptions())
    return next(json.loads(o.head) for o in plan.outputs if o.path == Path("nowhere/config.json"))


def unlike(config: dict) -> dict[str, tuple]:
    """Settings of config.json for which the class of transformers holds another value: (ours, the class's)."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if config["model_type"] not in CONFIG_MAPPING:
        pytest.skip("transformers has no such class")
    spec = arch.for_config(config, "")
    held = CONFIG_MAPPING[config["model_type"]].from_dict(deepcopy(config))
    ours, theirs = canonical(config, spec, ""), canonical(held.to_dict(), spec, "")
    pairs = {k: (v, theirs[k] if k in theirs else getattr(held, k, None))
             for k, v in ours.items() if k not in (*OTHERS, *IN_ROPE_PARAMETERS, HELD_ANYWAY.get(config["model_type"]))}
    return {k: pair for k, pair in pairs.items() if not same(*pair)}


def same(ours: object, theirs: object) -> bool:
    """Equal; an object as far as ours goes."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        theirs = {str(k): v for k, v in theirs.items()}  # id2label has numbers there
        return all(same(v, theirs.get(k)) for k, v in ours.items()) and ours.get("rope_type") == theirs.get("rope_type")
    return ours == theirs or (isinstance(ours, list) and [LAYERS.get(str(kind), kind) for kind in ours] == theirs)


def shortest(keys: Metadata) -> None:
    """Without what the runtime takes anyway."""
    name = keys["general.architecture"].data
    for key in list(keys):
        rest = {k: v for k, v in keys.items() if k != key}
        if key.startswith(f"{name}.") and alike(key, Runtime(keys, name), Runtime(rest, name)):
            del keys[key]


def usual_heads(keys: Metadata) -> None:
    """As short, of a model whose heads have the length that nobody has to state."""
    name = keys["general.architecture"].data
    heads, length = keys[f"{name}.attention.head_count"].data, keys.get(f"{name}.attention.key_length")
    if length is not None and isinstance(heads, int):
        keys[f"{name}.embedding_length"] = u32(heads * length.data)
    shortest(keys)


def unscaled(keys: Metadata) -> None:
    """Without rotary scaling."""
    for key in [k for k in keys if ".rope.scaling." in k]:
        del keys[key]


@pytest.mark.parametrize("name", MODELS)
def test_the_class_holds_what_the_file_says(name: str, converted: Callable[..., Path], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch):
    if MODELS[name].shapes:
        pytest.skip("transformers has no such class")
    whole = converted(name)
    assert unlike(written(whole)) == {}
    table = any("rope_factors" in tensor for tensor in read_gguf(whole).tensors)  # a scaling in itself
    wide = any("ple_conv1d" in tensor for tensor in read_gguf(whole).tensors)  # of the width, which then is not free
    for change in (shortest, *(() if wide else (usual_heads,)), *(() if table else (unscaled,))):
        if change is usual_heads:  # of tensors that wide nothing is asked here
            monkeypatch.setattr(gguf_to_hf, "misfits", lambda *_: [])
        config = written(change_gguf(whole, tmp_path / f"{change.__name__}.gguf", keys=change))
        monkeypatch.undo()
        assert unlike(config) == {}, change.__name__


@pytest.mark.parametrize("name", [
    name for name, row in MODELS.items() if any(spec.whole for spec in arch.BY_CLASS.get(row.cls, ()))])
def test_the_class_of_a_text_part_holds_what_its_whole_leaves_to_defaults(name: str, zoo: Callable[[str], Path]):
    """Qwen2-VL without a rotary base turns by 1000000, Qwen2 by 10000."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = json.loads((zoo(name) / "config.json").read_text())
    spec = arch.for_config(config, "")
    whole = spec.whole
    if whole is None or whole.text.model_type not in CONFIG_MAPPING:
        pytest.skip("no text part that transformers has a class of")
    settings = text_settings(config) or config
    left = [key for key, default in whole.text.defaults.items()
            if isinstance(default, float) or (not callable(default) and settings.get(key) == default)]
    for key in left:
        settings.pop(key, None)
        (settings.get("rope_parameters") or {}).pop(key, None)
    said = canonical(config, spec, "")
    held = canonical(CONFIG_MAPPING[whole.text.model_type].from_dict(of_text_part(config, whole)).to_dict(), whole.text, "")
    for key in {*left} - {*IN_ROPE_PARAMETERS}:
        assert same(said[key], held.get(key)), key
    if "rope_theta" in left:
        rope = held["rope_parameters"]  # of all layers, or by kinds of them
        assert full_attention_rope(said)["rope_theta"] in [
            one.get("rope_theta") for one in (rope, *rope.values()) if isinstance(one, dict)]
