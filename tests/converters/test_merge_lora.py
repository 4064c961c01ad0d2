"""Adapters merged into their base: the tensors of peft's merge_and_unload, bit for bit; what cannot be merged is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError, UsageError
from ggufx.converters.planners.adapter_updates import Adapter
from ggufx.converters.planners.merged_weights import resolve_adapters
from zoo import packed, peers
from zoo.adapters import make_adapter, merged_by_peft
from zoo.files import changed_copy, load_folder, stored
from zoo.fill import bell
from zoo.proof import close, same

import ggufx

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXPERTS = {"target_modules": [], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
CONV1D = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
# name of the zoo model, LoraConfig, which tensors change
CASES = {
    "plain": ("llama", {"target_modules": LINEAR}, 14),
    "patterns": ("llama", {"target_modules": [*LINEAR, "embed_tokens", "lm_head"], "use_rslora": True,
                           "rank_pattern": {"q_proj": 2, "layers.1.*v_proj": 7}, "alpha_pattern": {"down_proj": 3}}, 16),
    "dora": ("llama", {"target_modules": ["q_proj", "down_proj"], "use_dora": True}, 4),
    "dora-embedding": ("llama", {"target_modules": ["embed_tokens"], "use_dora": True}, 1),
    "biases": ("llama-bias", {"target_modules": ["q_proj"], "bias": "all"}, 16),
    "biases-of-targets": ("llama-bias", {"target_modules": ["q_proj"], "bias": "lora_only"}, 4),
    "lora-bias": ("llama-bias", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True}, 8),
    "saved": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens", "input_layernorm"]}, 6),
    "tokens": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, 7]}}, 3),
    "tied-tokens": ("qwen2", {"target_modules": ["q_proj"], "trainable_token_indices": [3, 7]}, 3),
    "tied-embedding-and-head": ("qwen2", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}, 3),
    "tied-head-saved": ("qwen2", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, 3),
    "tied-embedding-saved": ("qwen2", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, 4),
    "experts-apart": ("mixtral", EXPERTS, 24),
    "experts-fused": ("qwen3moe-fused", EXPERTS, 4),
    "experts-by-projections": ("qwen3moe", {"target_modules": LINEAR}, 32),
    "router": ("mixtral", {"target_modules": ["v_proj"], "target_parameters": ["mlp.gate.weight"]}, 4),
    "mla": ("deepseek2", {"target_modules": ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"]}, 8),
    "conv1d": ("gpt2-v4", CONV1D, 8),
    "vision": ("gemma3-vl", {"target_modules": r"model\.vision_tower\..*q_proj"}, 1),
}
CONV1D_DORA = ("gpt2-v4", CONV1D | {"use_dora": True}, 8)
WIDE = ("patterns", "experts-apart", "conv1d", "lora-bias", "tied-head-saved")  # also in the other element types


def in_dtype(base: Path, folder: Path, dtype: str) -> Path:
    import torch

    kind = getattr(torch, dtype)
    return changed_copy(base, folder, lambda t: {n: v.to(kind) if v.is_floating_point() else v for n, v in t.items()},
                        dtype=dtype)


def ours_and_theirs(base: Path, adapters: list[Path], folder: Path) -> tuple[dict, dict]:
    """The tensors of both merged checkpoints, under the checkpoint's own names."""
    ggufx.merge_lora(adapters, folder / "merged", base=base)
    ours, theirs = stored(folder / "merged"), stored(merged_by_peft(base, adapters, folder / "peft"))
    return ours, {name if name in ours else name.removeprefix("transformer."): t for name, t in theirs.items()}


def ulps(one: bytes, two: bytes, dtype: str) -> int:
    """How far apart, in steps of the type."""
    kind = {"torch.float32": np.int32}.get(dtype, np.int16)
    return int(np.abs(np.frombuffer(one, kind).astype(np.int64) - np.frombuffer(two, kind)).max())


@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_peft(case, zoo, tmp_path):
    name, settings, count = CASES[case]
    adapter = make_adapter(zoo(name), tmp_path / "adapter", settings)
    ours, theirs = ours_and_theirs(zoo(name), [adapter], tmp_path)
    assert ours.keys() == theirs.keys()
    wrong = {n for n in ours if ours[n] != theirs[n]}
    assert not wrong or (case == "dora-embedding" and all(ulps(ours[n][2], theirs[n][2], ours[n][0]) <= 1 for n in wrong))
    base = stored(zoo(name))
    assert sum(ours[n] != base.get(n) for n in ours) == count


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("case", WIDE)
def test_in_other_element_types(case, dtype, zoo, tmp_path):
    name, settings, _ = CASES[case]
    base = in_dtype(zoo(name), tmp_path / "base", dtype)
    adapter = make_adapter(base, tmp_path / "adapter", settings)
    ours, theirs = ours_and_theirs(base, [adapter], tmp_path)
    assert ours == theirs
    assert {t[0] for t in ours.values()} == {f"torch.{dtype}"}


@pytest.mark.parametrize(("case", "dtype", "most"), [
    ("dora", "float32", 10), ("dora-embedding", "float32", 10), ("conv1d-dora", "float32", 10), ("conv1d-dora", "bfloat16", 1)])
def test_norms_of_dora(case, dtype, most, zoo, tmp_path):
    """torch sums a norm in an order of its own: some ulps."""
    name, settings, _ = CASES.get(case, CONV1D_DORA)
    base = in_dtype(zoo(name), tmp_path / "base", dtype)
    ours, theirs = ours_and_theirs(base, [make_adapter(base, tmp_path / "adapter", settings)], tmp_path)
    assert ours.keys() == theirs.keys()
    assert max(ulps(ours[n][2], theirs[n][2], ours[n][0]) for n in ours) <= most


def test_adapters_as_people_have_them(zoo, tmp_path):
    """Several, one after another; factors in bf16 and f16; a pickle."""
    import torch
    from safetensors.torch import load_file, save_file

    base = zoo("llama")
    adapters = [make_adapter(base, tmp_path / str(i), {"target_modules": modules}, seed=i, rank=rank) for i, (modules, rank) in
                enumerate(((LINEAR, 4), (["q_proj", "embed_tokens"], 3), (["q_proj", "lm_head"], 2)))]
    for adapter, dtype in zip(adapters, (torch.bfloat16, torch.float16, torch.float32), strict=True):
        tensors = load_file(adapter / "adapter_model.safetensors")
        tensors = {n: t.to(dtype) if "lora" in n else t for n, t in tensors.items()}
        save_file(tensors, adapter / "adapter_model.safetensors")
    torch.save(tensors, adapters[2] / "adapter_model.bin")
    (adapters[2] / "adapter_model.safetensors").unlink()
    ours, theirs = ours_and_theirs(base, adapters, tmp_path)
    assert ours == theirs


def test_several_dora_adapters(zoo, tmp_path):
    """Their norms are of the base, not of what the others made of it; peft takes them out and in again, which rounds."""
    base = in_dtype(zoo("llama"), tmp_path / "base", "float32")
    adapters = [make_adapter(base, tmp_path / str(i), {"target_modules": ["q_proj"], "use_dora": True}, seed=i) for i in (1, 2)]
    ours, theirs = ours_and_theirs(base, adapters, tmp_path)
    for name, (_, _, data) in ours.items():
        one, two = (np.frombuffer(x, np.float32) for x in (data, theirs[name][2]))
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6 * np.abs(two).max())


def test_a_scale(zoo, tmp_path):
    """`@0.5` is half of the update, as a halved alpha."""
    base = zoo("llama")
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": LINEAR})
    ggufx.merge_lora(f"{adapter}@0.5", tmp_path / "half", base=base)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": config["lora_alpha"] / 2}))
    ggufx.merge_lora(adapter, tmp_path / "alpha", base=base)
    assert stored(tmp_path / "half") == stored(tmp_path / "alpha")
    with pytest.raises(UsageError, match="no scale"):
        resolve_adapters([f"{adapter}@inf"])
    assert resolve_adapters([f"{adapter}@-2"]) == (Adapter(adapter, -2.0),)


@pytest.mark.parametrize(("case", "outtype"), [("patterns", "q8_0"), ("saved", "auto"), ("experts-apart", "auto"),
                                               ("tied-head-saved", "f16"), ("conv1d", "q4_0")])
def test_in_one_step_as_in_two(case, outtype, zoo, tmp_path):
    name, settings, _ = CASES[case]
    adapter = make_adapter(zoo(name), tmp_path / "tuned", settings)
    (tmp_path / "merged").mkdir()
    ggufx.merge_lora(adapter, tmp_path / "merged" / "tuned", base=zoo(name))  # the folder's name is the model's
    two = ggufx.hf_to_gguf(tmp_path / "merged" / "tuned", tmp_path / "two.gguf", outtype=outtype)
    one = ggufx.hf_to_gguf(zoo(name), tmp_path / "one.gguf", lora=adapter, outtype=outtype)
    assert one.files[0].sha256 == two.files[0].sha256
    assert ggufx.verify(zoo(name), tmp_path / "one.gguf", lora=adapter).same
    assert ggufx.verify(zoo(name), tmp_path / "merged" / "tuned", lora=adapter).same
    assert not ggufx.verify(zoo(name), tmp_path / "merged" / "tuned").same


def test_a_quantized_base(zoo, tmp_path):
    """Its weights are decoded, and those that change are rounded once; config.json says no more that they are quantized."""
    import torch

    def fp8(module: str, w):
        if "proj" not in module:
            return None
        scale = w.float().abs().amax(1, keepdim=True) / 448
        codes = (w.float() / scale).to(torch.float8_e4m3fn)
        return {f"{module}.weight": codes, f"{module}.weight_scale": scale}, codes.float() * scale

    settings = {"quantization_config": {"quant_method": "compressed-tensors"}}
    base, twin = packed.pair(zoo("llama"), tmp_path, fp8, settings)
    adapter = make_adapter(zoo("llama"), tmp_path / "tuned", {"target_modules": ["q_proj"]})
    (tmp_path / "merged").mkdir()
    out = tmp_path / "merged" / "tuned"
    ggufx.merge_lora(adapter, out, base=base)
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    ggufx.merge_lora(adapter, tmp_path / "exact", base=in_dtype(twin, tmp_path / "wide", "float32"))
    ours, exact = load_folder(out), load_folder(tmp_path / "exact")
    assert all(torch.equal(value, exact[name].to(value.dtype)) for name, value in ours.items())
    assert {value.dtype for value in ours.values()} == {torch.bfloat16}
    two = ggufx.hf_to_gguf(out, tmp_path / "two.gguf", outtype="q8_0")
    one = ggufx.hf_to_gguf(base, tmp_path / "one.gguf", lora=adapter, outtype="q8_0")
    assert one.files[0].sha256 == two.files[0].sha256


def test_threads_and_memory_change_no_byte(zoo, tmp_path):
    name, settings, _ = CASES["experts-fused"]
    adapter = make_adapter(zoo(name), tmp_path / "adapter", settings)
    for threads, memory in ((1, 1 << 30), (2, 1 << 16)):
        ggufx.merge_lora(adapter, tmp_path / str(threads), base=zoo(name), threads=threads, max_memory=memory)
    assert stored(tmp_path / "1") == stored(tmp_path / "2")


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=f"no llama.cpp: {peers.missing_runtime()}")
@pytest.mark.parametrize("case", ["plain", "dora", "experts-fused", "mla", "tied-embedding-and-head"])
def test_llama_cpp_gives_peft_logits(case, zoo, tmp_path):
    name, settings, _ = CASES[case]
    base, ids = in_dtype(zoo(name), tmp_path / "base", "float32"), list(range(40, 72))
    adapter = make_adapter(base, tmp_path / "adapter", settings)
    ggufx.hf_to_gguf(base, tmp_path / "merged.gguf", lora=adapter)
    merged = merged_by_peft(base, [adapter], tmp_path / "peft")
    expected, plain = (peers.transformers_logits(folder, ids) for folder in (merged, base))
    assert peers.relative_error(plain, expected) > 0.05
    assert peers.relative_error(peers.llama_logits(tmp_path / "merged.gguf", ids), expected) < 1e-4


REFUSED = {
    "vera": ({"peft_type": "VERA"}, "peft_type VERA cannot be merged"),
    "layers": ({"layer_replication": [[0, 1]]}, "replicated layers cannot be merged"),
    "alora": ({"alora_invocation_tokens": [1]}, "aLoRA.* cannot be merged"),
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, "changed the base weights"),
    "qalora": ({"use_qalora": True}, "QALoRA"),
    "dora": ({"use_dora": True}, "magnitude is missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_merged_form_is_refused(case, zoo, tmp_path):
    changes, words = REFUSED[case]
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | changes))
    for call in (lambda: ggufx.merge_lora(adapter, tmp_path / "out", base=zoo("llama")),
                 lambda: ggufx.hf_to_gguf(zoo("llama"), tmp_path / "out.gguf", lora=adapter)):
        with pytest.raises(GgufxError, match=words) as caught:
            call()
        assert isinstance(caught.value, (InputError, UnsupportedError))
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def edited(adapter: Path, edit) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")


DAMAGED = {
    "no-pair": (lambda t: t.pop(next(n for n in t if "lora_A" in n)), "no counterpart"),
    "rank-0": (lambda t: t.update({n: v[:0] if "lora_A" in n else v[:, :0].contiguous() for n, v in t.items() if "lora_" in n
                                   and "magnitude" not in n}), "do not fit"),
    "width": (lambda t: t.update({n: v[:, 1:].contiguous() for n, v in t.items() if "lora_A" in n}), "do not fit"),
    "magnitude": (lambda t: t.update({n: v[1:] for n, v in t.items() if "magnitude" in n}), "magnitude per output"),
    "type": (lambda t: t.update({n: v.double() for n, v in t.items() if "lora_A" in n}), "F64 weights are not merged"),
    "name": (lambda t: t.update({n.replace("q_proj", "qq_proj"): v.clone() for n, v in list(t.items())}), "no such weight"),
    "saved": (lambda t: t.update({n: v[1:] for n, v in t.items() if "norm" in n}), "does not fit the weight"),
    "rows": (lambda t: t.update({n: v[1:] for n, v in t.items() if "tokens" in n}), "which rows these are"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_adapters(case, zoo, tmp_path):
    edit, words = DAMAGED[case]
    settings = {"target_modules": ["q_proj"], "use_dora": case == "magnitude", "modules_to_save": ["input_layernorm"],
                "trainable_token_indices": [3, 7]}
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", settings)
    edited(adapter, edit)
    with pytest.raises(GgufxError, match=words) as caught:
        ggufx.merge_lora(adapter, tmp_path / "out", base=zoo("llama"))
    assert caught.value.code in ("input", "many") or caught.value.problems
    assert not (tmp_path / "out").exists()


def test_what_changes_is_told(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["v_proj"]})
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "org/Other"}))
    plan = ggufx.merge_lora(adapter, tmp_path / "out", base=zoo("llama"), dry_run=True)
    said = {note.kind: note.names for note in plan.notes}
    assert said["adapters change"] == tuple(f"model.layers.{b}.self_attn.v_proj.weight" for b in (0, 1))
    assert "the adapter names Other as its base model, and is merged into llama" in said
    assert not (tmp_path / "out").exists()


def test_another_base(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj", "v_proj"]})
    for other in ("bert", "llama-256", "gpt2"):
        with pytest.raises(InputError, match="4 updates do not fit the base model"):
            ggufx.merge_lora(adapter, tmp_path / "out", base=zoo(other))


def test_a_longer_vocabulary_and_the_adapters_own_tokenizer(zoo, tmp_path):
    """Tables of more rows go with the tokenizer that stands beside them; config.json counts its rows."""
    import torch
    from safetensors.torch import load_file, save_file

    base = zoo("llama")
    adapter = make_adapter(base, tmp_path / "adapter", {"target_modules": ["q_proj"],
                                                        "modules_to_save": ["embed_tokens", "lm_head"]})
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name in tensors:
        if "embed_tokens" in name or "lm_head" in name:
            tensors[name] = torch.cat([tensors[name], tensors[name][:6]])
    rows = len(tensors[name])
    save_file(tensors, adapter / "adapter_model.safetensors")
    for path in base.glob("*token*"):
        shutil.copy(path, adapter)
    (adapter / "chat_template.jinja").write_text("{{ messages }}")
    ggufx.merge_lora(adapter, tmp_path / "merged", base=base)
    rows = len(load_folder(tmp_path / "merged")["lm_head.weight"])
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["vocab_size"] == rows
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == "{{ messages }}"
    ggufx.hf_to_gguf(tmp_path / "merged", tmp_path / "merged.gguf")
    assert peers.read_peer_gguf(tmp_path / "merged.gguf").tensors["output.weight"][1][0] == rows


def test_nothing_of_this_machine_is_published(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    ggufx.merge_lora(adapter, tmp_path / "merged", base=zoo("llama"))
    for path in (tmp_path / "merged").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path


def test_a_parameter_that_is_no_stack(zoo, tmp_path):
    """DBRX keeps all experts of a projection in one matrix."""
    adapter = make_adapter(zoo("dbrx"), tmp_path / "adapter", {"target_modules": ["Wqkv"], "target_parameters": ["mlp.w1"]})
    ggufx.merge_lora(adapter, tmp_path / "ours", base=zoo("dbrx"))
    theirs = load_folder(merged_by_peft(zoo("dbrx"), [adapter], tmp_path / "theirs"))
    ours, base = load_folder(tmp_path / "ours"), load_folder(zoo("dbrx"))
    name = "transformer.blocks.0.ffn.experts.mlp.w1"
    assert ours[name].equal(theirs[name])
    assert not ours[name].equal(base[name])


@pytest.mark.parametrize(("model", "modules", "settings"), [
    ("nomic-bert", ["q_proj", "v_proj"], {}), ("nomic-bert", ["k_proj"], {"use_dora": True}),
    ("hrm-text", ["self_attn.gate_proj", "up_proj", "v_proj"], {}), ("gemma", ["lm_head"], {}),
])
def test_parts_of_stored_weights(model, modules, settings, zoo, tmp_path):
    """Nomic's files have q, k and v in one weight, HRM-Text's gate and up; transformers 5 has not. A head may be the table."""
    adapter = make_adapter(zoo(model), tmp_path / "adapter", {"target_modules": modules, **settings})
    ggufx.merge_lora(adapter, tmp_path / "ours", base=zoo(model))
    theirs = load_folder(merged_by_peft(zoo(model), [adapter], tmp_path / "theirs"))
    ours, base = load_folder(tmp_path / "ours"), load_folder(zoo(model))
    changed = [name for name in ours if not ours[name].equal(base[name])]
    assert changed
    for name in ours:
        assert (close if settings else same)(ours[name], theirs[name]), name


def test_experts_one_by_one_in_a_stack(zoo, tmp_path):
    """An adapter of the modules of transformers 4, and a base as transformers 5 saves it: as of the base of transformers 4."""
    from safetensors.numpy import save_file

    stacked = zoo("qwen3moe-fused")
    config = json.loads((stacked / "config.json").read_text())
    width, ff = config["hidden_size"], config["moe_intermediate_size"]
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    shapes = {"gate_proj": (ff, width), "up_proj": (ff, width), "down_proj": (width, ff)}
    name = "base_model.model.model.layers.1.mlp.experts.{}.{}.lora_{}.weight"
    factors = {name.format(e, part, side): bell(f"{part}{e}{side}", (4, inner) if side == "A" else (out, 4))
               for e in (0, 2) for part, (out, inner) in shapes.items() for side in "AB"}
    save_file(factors, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": list(shapes)}))

    def apart(tensors):
        out = {}
        for name, value in tensors.items():
            module, _, part = name.rpartition(".")
            for e, one in enumerate(value) if module.endswith(".experts") else ():
                halves = {"gate_proj": one[:ff], "up_proj": one[ff:]} if part == "gate_up_proj" else {part: one}
                out |= {f"{module}.{e}.{half}.weight": matrix.clone() for half, matrix in halves.items()}
            if not module.endswith(".experts"):
                out[name] = value
        return out

    changed_copy(stacked, tmp_path / "apart", apart)
    files = []
    for number, base in enumerate((stacked, tmp_path / "apart")):
        ggufx.merge_lora(adapter, tmp_path / str(number), base=base)
        ggufx.hf_to_gguf(tmp_path / str(number), tmp_path / f"{number}.gguf", plain=True)
        files.append(peers.read_peer_gguf(tmp_path / f"{number}.gguf").tensors)
    ggufx.hf_to_gguf(stacked, tmp_path / "base.gguf", plain=True)
    assert files[0] == files[1] != peers.read_peer_gguf(tmp_path / "base.gguf").tensors


@pytest.mark.parametrize("parameters", [["input_linear.weight"], None])
def test_a_stack_that_its_module_calls_weight(parameters, zoo, tmp_path):
    """Granite's files call it so; as a module's weight that is no matrix, it takes no pair."""
    from safetensors.numpy import save_file

    base, adapter, name = zoo("granitemoe"), tmp_path / "adapter", "model.layers.0.block_sparse_moe.input_linear"
    weight = load_folder(base)[f"{name}.weight"]
    experts, out, inner = weight.shape
    a, b = bell("a", (4 * experts, inner)), bell("b", (out, 4 * experts))
    adapter.mkdir()
    save_file({f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b},
              adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": [], "target_parameters": parameters}))
    ways = (lambda: ggufx.merge_lora(adapter, tmp_path / "out", base=base),
            lambda: ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / "a.gguf"))
    if parameters is None:
        for way in ways:
            with pytest.raises(InputError, match="factors do not fit"):
                way()
        return
    for way in ways:
        way()
    delta = np.einsum("eri,ore->eoi", a.reshape(experts, 4, inner), b.reshape(out, 4, experts)) * 2
    merged = load_folder(tmp_path / "out")[f"{name}.weight"].float().numpy()
    np.testing.assert_allclose(merged, weight.float().numpy() + delta, rtol=0.02, atol=0.02 * np.abs(delta).max())
    made = peers.read_peer_gguf(tmp_path / "a.gguf").tensors
    assert made["blk.0.ffn_gate_exps.weight.lora_a"][1] == (experts, 4, inner)


def test_the_same_base_is_not_called_another(zoo, tmp_path):
    adapter = make_adapter(zoo("llama"), tmp_path / "adapter", {"target_modules": ["q_proj"]})
    edited(adapter, lambda t: t.update({n: v[:, 1:].contiguous() for n, v in t.items() if "lora_A" in n}))
    with pytest.raises(InputError, match="2 updates do not fit the base model") as caught:
        ggufx.merge_lora(adapter, tmp_path / "out", base=zoo("llama"))
    assert (caught.value.expected, caught.value.found) == (None, None)
