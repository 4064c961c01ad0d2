"""The way back of adapters: what is folded comes off, files of others in any form, what is refused."""

import json

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, UsageError
from ggufx.converters.io.values import ValueType, array, f32, string
from ggufx.converters.ops.lora import Lora
from zoo.adapters import make_adapter
from zoo.files import load_folder, read_file, stored, write_file
from zoo.fill import bell

import ggufx

KEYS = {"general.architecture": string("llama"), "general.type": string("adapter"), "adapter.type": string("lora"),
        "adapter.lora.alpha": f32(8.0)}


def foreign(path, factors: dict[str, np.ndarray], **changes):
    """A GGUF adapter as others make it; a key that is None is left out."""
    keys = {**KEYS, **{k.replace("__", "."): v for k, v in changes.items()}}
    return write_file(path, {k: v for k, v in keys.items() if v is not None},
                      {n: ("F32", x.shape, x.astype(np.float32).tobytes()) for n, x in factors.items()})


def pair(weight: str, out: int, inner: int, rank: int = 4, seed: str = "") -> dict[str, np.ndarray]:
    return {f"{weight}.lora_a": bell(f"a{seed}", (rank, inner)), f"{weight}.lora_b": bell(f"b{seed}", (out, rank))}


def settings(folder) -> dict:
    return json.loads((folder / "adapter_config.json").read_text())


def test_a_scale_that_is_no_power_of_two_comes_off(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {
        "target_modules": ["q_proj", "up_proj"], "use_rslora": True, "alpha_pattern": {"up_proj": 3}})
    plan = ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf", dry_run=True)
    folded = [op.scales[0] for job in plan.jobs for op in job.ops if isinstance(op, Lora) and op.scales != (1.0,)]
    assert folded
    assert all(np.frexp(scale)[0] != 0.5 for scale in folded)
    ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=zoo("llama"))
    assert stored(tmp_path / "back") == stored(adapter)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "f16", base=zoo("llama"), dtype="f16")
    assert {str(t.dtype) for t in load_folder(tmp_path / "f16").values()} == {"torch.float16"}


def test_experts_without_factors_do_not_come_back(zoo, tmp_path):
    from safetensors.numpy import save_file

    base, adapter = zoo("mixtral"), tmp_path / "adapter"
    adapter.mkdir()
    config = json.loads((base / "config.json").read_text())
    module = "base_model.model.model.layers.0.block_sparse_moe.experts.{}.w1.lora_{}.weight"
    save_file({module.format(e, side): bell(f"{side}{e}", (rank, config["hidden_size"]) if side == "A" else
                                            (config["intermediate_size"], rank))
               for e, rank in ((1, 2), (3, 4)) for side in "AB"}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {"experts.1.w1": 2}, "target_modules": ["w1"]}))
    ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "a.gguf")
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=base)
    assert stored(tmp_path / "back") == stored(adapter)
    assert (tmp_path / "back" / "adapter_config.json").read_bytes() == (adapter / "adapter_config.json").read_bytes()


def test_projections_that_are_one_weight_in_hf(zoo, tmp_path):
    """One update alone leaves the other's rows zero; two with an A each are one pair of both ranks."""
    base = zoo("qwen3moe")
    config = json.loads((base / "config.json").read_text())
    width, ff, experts = config["hidden_size"], config["moe_intermediate_size"], config["num_local_experts"]
    gate, up = (f"blk.0.ffn_{x}_exps.weight" for x in ("gate", "up"))
    stack = {f"{w}.lora_{side}": bell(f"{w}{side}", (experts, r, width) if side == "a" else (experts, ff, r))
             for w, r in ((gate, 2), (up, 3)) for side in "ab"}
    for number, names in enumerate(((gate,), (gate, up))):
        file = foreign(tmp_path / f"{number}.gguf", {n: x for n, x in stack.items() if n.startswith(names)},
                       general__architecture=string("qwen3moe"))
        ggufx.gguf_to_hf(file, tmp_path / str(number), base=base)
        found, said = load_folder(tmp_path / str(number)), settings(tmp_path / str(number))
        a, b = (found[f"base_model.model.model.layers.0.mlp.experts.lora_{side}.weight"].numpy() for side in "AB")
        rank = a.shape[0] // experts
        a, b = a.reshape(experts, rank, width), b.reshape(2 * ff, rank, experts).transpose(2, 0, 1)
        delta = said["lora_alpha"] / rank * b @ a
        for half, weight in ((0, gate), (1, up)):
            x, y = (stack[f"{weight}.lora_{side}"] for side in "ab")
            expected = 8 / x.shape[1] * y @ x if weight in names else np.zeros((experts, ff, width))
            np.testing.assert_allclose(delta[:, half * ff : (half + 1) * ff], expected, rtol=1e-5, atol=1e-6)
        assert (said["r"], said["target_parameters"]) == (rank, ["model.layers.0.mlp.experts.gate_up_proj"])


def test_settings_of_a_file_of_others(zoo, tmp_path):
    base = zoo("llama")
    config = json.loads((base / "config.json").read_text())
    width, rows = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    blocks = range(config["num_hidden_layers"])
    factors = {n: x for b in blocks for n, x in pair(f"blk.{b}.attn_q.weight", rows, width, seed=str(b)).items()}
    factors |= pair("blk.0.attn_output.weight", width, rows, 2) | {"blk.0.attn_norm.weight": bell("n", (width,))}
    file = foreign(tmp_path / "a.gguf", factors, adapter__alora__invocation_tokens=array(ValueType.UINT32, [5, 6]))
    plan = ggufx.gguf_to_hf(file, tmp_path / "out", base=base, dry_run=True)
    said = [note.kind for note in plan.notes]
    assert any("runtime ignores" in kind for kind in said)
    assert any("are not in a GGUF adapter" in kind for kind in said)
    ggufx.gguf_to_hf(file, tmp_path / "out", base=base)
    found = settings(tmp_path / "out")
    assert found["target_modules"] == ["model.layers.0.self_attn.o_proj", "q_proj"]
    assert found["rank_pattern"] == {r"model\.layers\.0\.self_attn\.o_proj": 2}
    assert (found["r"], found["lora_alpha"], found["alora_invocation_tokens"]) == (4, 8, [5, 6])
    assert (found["task_type"], found["base_model_name_or_path"]) == ("CAUSAL_LM", None)
    for alpha in (None, f32(0.0)):  # the runtime then scales by 1
        file = foreign(tmp_path / "b.gguf", factors, adapter__lora__alpha=alpha)
        ggufx.gguf_to_hf(file, tmp_path / "scaled", base=base, force=True)
        found = settings(tmp_path / "scaled")
        assert (found["lora_alpha"], found["alpha_pattern"]) == (4, {r"model\.layers\.0\.self_attn\.o_proj": 2.0})


def test_invocation_tokens_both_ways(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
                                                                "alora_invocation_tokens": [7, 8, 9]})
    for plain in (False, True):
        ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf", plain=plain, force=True)
        ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=zoo("llama"), force=True)
        assert settings(tmp_path / "back")["alora_invocation_tokens"] == [7, 8, 9]
        assert stored(tmp_path / "back") == stored(adapter)


def test_the_base_that_a_gguf_adapter_names(zoo, tmp_path):
    factors = pair("blk.0.attn_q.weight", 8, 8)
    with pytest.raises(UsageError, match="names no base model"):
        ggufx.gguf_to_hf(foreign(tmp_path / "a.gguf", factors), tmp_path / "out")
    from ggufx.converters.planners.adapter_to_hf import base_of_gguf

    named = foreign(tmp_path / "b.gguf", factors, general__base_model__0__repo_url=string("https://huggingface.co/org/base"))
    assert base_of_gguf(named) == "org/base"
    own = foreign(tmp_path / "c.gguf", factors, ggufx__adapter_config=None, **{"ggufx.adapter_config": string(
        json.dumps({"base_model_name_or_path": "org/name", "revision": "v1"}))})
    assert base_of_gguf(own) == "org/name@v1"


Q = {"blk.0.attn_q.weight.lora_a": (4, 64), "blk.0.attn_q.weight.lora_b": (64, 4)}
REFUSED = {
    "control vector": ({"direction.1": (64,)}, {"general__type": None, "general__architecture": string("controlvector")},
                       "a control vector", UnsupportedError),
    "other adapters": (Q, {"adapter__type": string("ia3")}, "'ia3' is no LoRA adapter", UnsupportedError),
    "another architecture": (Q, {"general__architecture": string("qwen2")}, "another architecture", InputError),
    "alone": ({"blk.0.attn_q.weight.lora_a": (4, 64)}, {}, "no counterpart", InputError),
    "no factor": (Q | {"blk.0.attn_q.bias": (64,)}, {}, "no factor of a LoRA adapter", InputError),
    "ranks": ({**Q, "blk.0.attn_q.weight.lora_b": (64, 3)}, {}, "the ranks of the factors differ", InputError),
    "another base": ({**Q, "blk.0.attn_q.weight.lora_a": (4, 60)}, {}, "do not fit the weight", InputError),
    "beyond": ({n.replace("blk.0", "blk.9"): s for n, s in Q.items()}, {}, "no such weight", InputError),
    "unknown": ({n.replace("attn_q", "attn_x"): s for n, s in Q.items()}, {}, "no such weight", InputError),
    "alpha": (Q, {"adapter__lora__alpha": string("8")}, "alpha: wrong type", InputError),
    "invocation tokens": (Q, {"adapter__alora__invocation_tokens": string("5")}, "tokens: wrong type", InputError),
    "nothing": ({}, {}, "holds no update", InputError),
    "a model": (Q, {"general__type": string("model")}, "is no adapter", UsageError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_adapter_of_the_base_is_refused(case, zoo, tmp_path):
    shapes, changes, words, kind = REFUSED[case]
    file = foreign(tmp_path / "a.gguf", {n: bell(n, s) for n, s in shapes.items()}, **changes)
    with pytest.raises(GgufxError, match=words) as caught:
        ggufx.gguf_to_hf(file, tmp_path / "out", base=zoo("llama"))
    assert isinstance(caught.value, kind)
    assert not (tmp_path / "out").exists()


def test_options_of_models_are_refused(zoo, tmp_path):
    file = foreign(tmp_path / "a.gguf", {n: bell(n, s) for n, s in Q.items()})
    with pytest.raises(UsageError, match="one file without a tokenizer"):
        ggufx.gguf_to_hf(file, tmp_path / "out", base=zoo("llama"), max_shard_size=1000)


@pytest.mark.parametrize("damage", [{"folded": {"blk.0.attn_q.weight": [[0, 4]]}}, {"folded": []},
                                    {"folded": {"blk.0.attn_q.weight": [[0, 5, 1.0]]}}, {"dtype": "Q4_0"}])
def test_a_damaged_record_is_named(damage, zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    ggufx.lora_to_gguf(adapter, base=zoo("llama"), outfile=tmp_path / "a.gguf")
    keys, tensors = read_file(tmp_path / "a.gguf")
    keys["ggufx.source"] = string(json.dumps(json.loads(keys["ggufx.source"].data) | damage))
    with pytest.raises(InputError, match=r"ggufx\.source"):
        ggufx.gguf_to_hf(write_file(tmp_path / "b.gguf", keys, tensors), tmp_path / "out", base=zoo("llama"))


@pytest.mark.parametrize(("model", "modules"), [
    ("hrm-text", ["L_module.layers.0.self_attn.q_proj", "L_module.layers.0.self_attn.gate_proj",
                  "H_module.layers.0.mlp.up_proj"]),
    ("hy4", ["layers.2.mlp.shared_experts.gate_proj", "layers.2.mlp.shared_experts.up_proj"]),
    ("nemotron-h", ["layers.2.mixer.q_proj"]), ("llama4-vl", ["language_model.model.layers.0.self_attn.q_proj"]),
    ("qwen3asr", ["language_model.layers.0.self_attn.q_proj"]),
])
def test_modules_that_no_file_names_as_transformers_does(model, modules, zoo, tmp_path):
    adapter = make_adapter(zoo(model), tmp_path / "adapter", {"target_modules": modules})
    given = stored(adapter)
    assert len(given) == 2 * len(modules)
    ggufx.lora_to_gguf(adapter, base=zoo(model), outfile=tmp_path / "a.gguf", plain=True)
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", base=zoo(model))
    assert stored(tmp_path / "back") == given


def test_a_projection_that_is_three_in_transformers(zoo, tmp_path):
    base = zoo("nomic-bert")
    width = json.loads((base / "config.json").read_text())["hidden_size"]
    factors = pair("blk.0.attn_qkv.weight", 3 * width, width)
    file = foreign(tmp_path / "a.gguf", factors, general__architecture=string("nomic-bert"))
    ggufx.gguf_to_hf(file, tmp_path / "back", base=base)
    found = load_folder(tmp_path / "back")
    a, b = factors.values()
    for number, name in enumerate("qkv"):
        module = f"base_model.model.layers.0.self_attn.{name}_proj.lora_{{}}.weight"
        np.testing.assert_array_equal(found[module.format("A")].numpy(), a)
        np.testing.assert_array_equal(found[module.format("B")].numpy(), b[number * width : (number + 1) * width])
    assert len(found) == 6
