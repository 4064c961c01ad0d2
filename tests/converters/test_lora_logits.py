"""Adapters end to end: llama.cpp with base and adapter gives peft's logits, or the adapter is refused by name."""

import functools
import json
import shutil
import warnings

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, UsageError
from ggufx.converters.sources.hf_folder import base_of
from zoo import peers
from zoo.adapters import make_adapter
from zoo.files import stored
from zoo.fill import bell

import ggufx

IDS = list(range(40, 72))
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXPERTS = {"target_modules": [], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
# name of the zoo model, LoraConfig
CASES = {
    "plain": ("llama", {"target_modules": LINEAR}),
    "rslora": ("llama", {"target_modules": LINEAR, "use_rslora": True}),
    "rank-pattern": ("llama", {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 2, "layers.1.*v_proj": 7}}),
    "alpha-pattern": ("llama-bias", {"target_modules": LINEAR, "alpha_pattern": {"down_proj": 3, "0.self_attn.q_proj": 32}}),
    "patterns-rslora": ("qwen3", {"target_modules": LINEAR, "use_rslora": True, "alpha_pattern": {"up_proj": 2},
                                  "rank_pattern": {"up_proj": 3}}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "head": ("llama", {"target_modules": ["lm_head", "v_proj"]}),
    "tied": ("qwen2", {"target_modules": LINEAR}),
    "experts-mixtral": ("mixtral", EXPERTS),
    "experts-qwen3moe": ("qwen3moe", EXPERTS | {"target_modules": ["q_proj"]}),
    "experts-fused": ("qwen3moe-fused", {"target_modules": [], "target_parameters": ["mlp.experts.down_proj"]}),
    # peft makes of these one parameter of the experts each, with rank and alpha patterns of its own for the fused one
    "experts-named-by-projections": ("qwen3moe", {"target_modules": LINEAR}),
    "experts-of-deepseek": ("deepseek2", {"target_modules": ["o_proj", "gate_proj", "up_proj", "down_proj"]}),
    "router": ("mixtral", {"target_modules": ["v_proj"], "target_parameters": ["mlp.gate.weight"],
                           "alpha_pattern": {r".*\.gate\.weight": 24}}),
    "conv1d": ("gpt2-v4", {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "mla": ("deepseek2", {"target_modules": ["o_proj", "embed_tokens"]}),
    "fused-projections": ("phi3", {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}),
    "gemma": ("gemma2", {"target_modules": LINEAR}),
    "linear-attention": ("qwen35", {
        "target_modules": ["in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "q_proj"]}),
}


@pytest.fixture(scope="module")
def adapted(zoo, tmp_path_factory):
    """`adapted(case)`: base, adapter, and the logits that peft computes."""

    @functools.cache
    def of(case):
        name, settings = CASES[case]
        base = zoo(name)
        adapter = make_adapter(base, tmp_path_factory.mktemp(case) / "adapter", settings)
        return base, adapter, peers.transformers_logits(base, IDS, adapter)

    return of


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=f"no llama.cpp: {peers.missing_runtime()}")
@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_gives_peft_logits(case, adapted, tmp_path):
    base, adapter, expected = adapted(case)
    name = CASES[case][0]
    ggufx.hf_to_gguf(base, tmp_path / "base.gguf", outtype="f32")
    ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "adapter.gguf")
    got = peers.llama_logits(tmp_path / "base.gguf", IDS, tmp_path / "adapter.gguf")
    plain = peers.transformers_logits(base, IDS)
    limit = 2e-3 if "gpt2" in name or "gemma" in name else 2e-4  # ggml's GELU is a table of halves
    assert peers.relative_error(plain, expected) > 30 * limit, "the adapter must make a difference"
    assert peers.relative_error(got, expected) < limit


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_comes_back(case, adapted, tmp_path):
    """Of a file of ours every bit of the factors and the settings; of one of others what peft computes, in peft."""
    base, adapter, expected = adapted(case)
    ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "own.gguf")
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "own", base=base)
    wanted = {n: t for n, t in stored(adapter).items() if ".base_layer.weight" not in n or "lora" in n}
    assert stored(tmp_path / "own") == wanted
    settings = [json.loads((f / "adapter_config.json").read_text()) for f in (adapter, tmp_path / "own")]
    assert settings[1] == settings[0] | {"base_model_name_or_path": None}
    ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "plain.gguf", plain=True)
    ggufx.gguf_to_hf(tmp_path / "plain.gguf", tmp_path / "plain", base=base)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="peft")
        # peft's word of patterns of parameters, which it does apply
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys did not match", module="peft")
        assert peers.relative_error(peers.transformers_logits(base, IDS, tmp_path / "plain"), expected) < 1e-5


def test_only_some_experts(zoo, tmp_path):
    """Per-expert modules, as adapters trained on the Hub layout have them; experts without factors stay as they are."""
    from safetensors.numpy import save_file

    base, adapter = zoo("mixtral"), tmp_path / "adapter"
    adapter.mkdir()
    config = json.loads((base / "config.json").read_text())
    width, ff = config["hidden_size"], config["intermediate_size"]
    tensors = {}
    for expert, rank in ((1, 2), (3, 4)):
        module = f"base_model.model.model.layers.0.block_sparse_moe.experts.{expert}.w1"
        tensors[f"{module}.lora_A.weight"] = bell(f"A{expert}", (rank, width))
        tensors[f"{module}.lora_B.weight"] = bell(f"B{expert}", (ff, rank))
    save_file(tensors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8,
                                                             "rank_pattern": {"experts.1.w1": 2}, "target_modules": ["w1"]}))
    ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "a.gguf")
    stored = peers.read_peer_gguf(tmp_path / "a.gguf")
    alpha = stored.values["adapter.lora.alpha"][1]
    a, b = (np.frombuffer(raw, np.float32).reshape(shape) for side in "ab"
            for _, shape, raw in [stored.tensors[f"blk.0.ffn_gate_exps.weight.lora_{side}"]])
    scale = alpha / a.shape[1]
    for expert in range(4):
        delta = scale * b[expert] @ a[expert]
        if expert in (1, 3):
            module = f"base_model.model.model.layers.0.block_sparse_moe.experts.{expert}.w1"
            rank = {1: 2, 3: 4}[expert]
            expected = 8 / rank * tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
            np.testing.assert_allclose(delta, expected, rtol=1e-5, atol=1e-5)
        else:
            assert not delta.any()


REFUSED = {
    "dora": ("llama", {"target_modules": ["q_proj"], "use_dora": True}, "DoRA"),
    "bias": ("llama-bias", {"target_modules": ["q_proj"], "bias": "lora_only"}, "trained bias"),
    "saved-modules": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "modules_to_save"),
    "tied-embedding": ("qwen2", {"target_modules": ["embed_tokens"]}, "ties its head"),
    "mla": ("deepseek2", {"target_modules": ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"]},
            "no LoRA update .*without looking for adapters"),
    "mla-query": ("deepseek2-lite", {"target_modules": ["q_proj"]}, "no LoRA update .*without looking for adapters"),
    "mla-head": ("deepseek3", {"target_modules": ["lm_head"]}, "no LoRA update .*without looking for adapters"),
    "positions": ("gpt2", {"target_modules": ["wpe"], "fan_in_fan_out": True}, "no LoRA update .*rows of this table"),
    "per-layer-embedding": ("gemma4", {"target_modules": ["embed_tokens_per_layer"]},
                            "no LoRA update .*rows of this table"),
    "scaled-experts": ("gemma4-moe", {"target_modules": [], "target_parameters": ["experts.down_proj"]},
                       "no LoRA update .*experts' scale"),
    "norms-of-heads": ("command-r-norms", {"target_modules": [], "target_parameters": ["q_norm.weight"]},
                       "no LoRA update .*normalises without looking for adapters"),
    "pooler": ("bert", {"target_modules": ["pooler.dense"]}, "no place"),
    "vision": ("gemma3-vl", {"target_modules": r"model\.vision_tower\..*q_proj"}, "beside its text"),
    "head-that-is-always-tied": ("gemma", {"target_modules": ["lm_head"]}, "no place"),
    "pissa": ("llama", {"target_modules": ["q_proj"], "init_lora_weights": "pissa"}, "changed the base weights"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gguf_cannot_express_is_refused(case, zoo, tmp_path):
    name, settings, words = REFUSED[case]
    adapter = make_adapter(zoo(name), tmp_path / "adapter", settings)
    with pytest.raises(GgufxError, match=words) as caught:
        ggufx.lora_to_gguf(adapter, base=zoo(name), outfile=tmp_path / "a.gguf")
    assert "no place" in words or "merge" in str(caught.value)
    if case in ("dora", "bias", "saved-modules"):  # the setting tells what its tensors are
        assert len(str(caught.value).splitlines()) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def edited(adapter, edit):
    from safetensors.numpy import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(("edit", "words"), [
    (lambda t: t.pop(next(n for n in t if "lora_A" in n)), "no counterpart"),
    (lambda t: t.update({n.replace("layers.1", "layers.7"): v for n, v in list(t.items())}), "beyond the base model"),
    (lambda t: t.update({n.replace("q_proj", "qq_proj"): v for n, v in list(t.items())}), "no such weight"),
    (lambda t: t.update({n: v[:, :-1].copy() for n, v in list(t.items()) if "lora_A" in n}), "do not fit"),
    (lambda t: t.update({n: v[:-1].copy() for n, v in list(t.items()) if "lora_A" in n}), "ranks"),
])
def test_broken_adapters(edit, words, zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    edited(adapter, edit)
    with pytest.raises(GgufxError, match=words) as caught:
        ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    assert caught.value.code == "input"
    assert not (tmp_path / "a.gguf").exists()


def test_the_base_that_the_adapter_names(zoo, tmp_path, monkeypatch):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    config = json.loads((adapter / "adapter_config.json").read_text())

    def named(**changes):
        (adapter / "adapter_config.json").write_text(json.dumps(config | changes))
        return adapter

    given = ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    (tmp_path / "here").symlink_to(zoo("llama"))
    monkeypatch.chdir(tmp_path)
    for name in (str(zoo("llama")), "here"):
        ours = ggufx.lora_to_gguf(named(base_model_name_or_path=name), outfile=tmp_path / "b.gguf", force=True)
        assert given.files[0].sha256 == ours.files[0].sha256
    for name, words in ((None, "names no base model"), ("", "names no base model"), (["x"], "names no base model"),
                        ("/nowhere", "its base model is not here"), ("../x\x1b", "its base model is not here")):
        with pytest.raises(UsageError, match=words):
            ggufx.lora_to_gguf(named(base_model_name_or_path=name), outfile=tmp_path / "c.gguf")
    assert base_of(named(base_model_name_or_path="org/name", revision="v1")) == "org/name@v1"
    assert base_of(named(base_model_name_or_path="org/name", revision="a:b")) == "org/name"


def test_a_wrong_base_is_one_line_with_both_names(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj", "v_proj", "down_proj"]})
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "org/trained-on"}))
    for other in ("bert", "llama-256", "gpt2"):
        with pytest.raises(InputError) as caught:
            ggufx.lora_to_gguf(adapter, base=zoo(other), outfile=tmp_path / "a.gguf")
        assert (caught.value.message, caught.value.expected) == ("6 updates do not fit the base model", "org/trained-on")
        assert str(zoo(other)) in str(caught.value)
        assert "The first: tensor base_model.model." in caught.value.hint
        assert len(str(caught.value).splitlines()) == 2


def test_config_alone_is_base_enough(zoo, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    shutil.copy(zoo("llama") / "config.json", base)
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    a = ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "a.gguf")
    b = ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "b.gguf")
    assert a.files[0].sha256 == b.files[0].sha256


def test_other_peft_types_are_refused(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(UnsupportedError, match="IA3"):
        ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
