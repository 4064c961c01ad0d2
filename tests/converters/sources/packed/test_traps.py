"""Traps of published quantized checkpoints: labels that lie, shapes that vary, parts of other hands. Each by the values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from safetensors.torch import load_file, save_file
from zoo.packed import decoded, opened, pair, same, tensors

import ggufx

from .test_fp8 import F8, shaped
from .test_hub_models import E2M1, int4, nf4, nvfp4
from .test_repack import grouped
from .test_whole_numbers import M, awq, compressed, gptq, settings, stream

W = f"{M}.weight"
CT = {"quantization_config": {"quant_method": "compressed-tensors"}}


def value(stored: dict[str, torch.Tensor], folder: Path, config: dict | None = None) -> torch.Tensor:
    return decoded(opened({f"{M}.{k}": v for k, v in stored.items()}, json.dumps(config or {}), folder).tensors[W])


def test_exponents_as_plain_bytes(tmp_path: Path):
    q, e = torch.randn(64, 64).to(F8), torch.randint(118, 124, (2, 2), dtype=torch.uint8)
    made = value({"weight": q, "weight_scale_inv": e}, tmp_path, {"quantization_config": {"weight_block_size": [32, 32]}})
    assert torch.equal(made, q.float() * torch.exp2(e.float() - 127).repeat_interleave(32, 0).repeat_interleave(32, 1))


@pytest.mark.parametrize("shape", [(1, 1), (2, 1, 2, 1)])
def test_blocks_with_axes_of_one_between(shape: tuple[int, ...], tmp_path: Path):
    """ModelOpt's FP8_PB_WO; and blocks that only their number tells."""
    q, s = torch.randn(64, 96).to(F8), torch.rand(shape)
    if len(shape) > 2:
        config = {"quantization_config": {"weight_block_size": [32, 48]}}
        each = s.reshape(2, 2).repeat_interleave(32, 0).repeat_interleave(48, 1)
    else:
        config, each = {}, s
    assert torch.equal(value({"weight": q, "weight_scale": s}, tmp_path, config), q.float() * each)


@pytest.mark.parametrize("shape", [(3,), (3, 24), (3, 24, 1)])
def test_stacks_of_experts_with_a_scale_each_or_each_row(shape: tuple[int, ...], tmp_path: Path):
    q, s = torch.randn(3, 24, 40).to(F8), torch.rand(shape)
    made = opened({"experts.up": q, "experts.up_scale": s}, "{}", tmp_path).tensors
    assert torch.equal(decoded(made["experts.up"]), q.float() * s.reshape(3, -1, 1))


def test_stacks_of_nvfp4_with_a_factor_each(tmp_path: Path):
    codes = torch.randint(0, 256, (3, 8, 32), dtype=torch.uint8)
    s, g = torch.rand(3, 8, 4).to(F8), torch.rand(3)
    made = opened({"experts.up": codes, "experts.up_scale": s, "experts.up_scale_2": g}, "{}", tmp_path).tensors
    values = E2M1[torch.stack([codes & 15, codes >> 4], -1).long()].reshape(3, 8, 64)
    assert torch.equal(decoded(made["experts.up"]), values * (s.float() * g[:, None, None]).repeat_interleave(16, 2))


def test_groups_of_different_bits_and_presets(zoo, tmp_path: Path):
    """Two groups, one named by a preset; modules to ignore that do not exist; a cache's scheme."""
    def change(module: str, w: torch.Tensor):
        return int4(module.replace("mlp", ".experts."), w) and _named(module, w) if "mlp" in module else \
            grouped("int8")(module, w)

    def _named(module: str, w: torch.Tensor):
        stored, values = int4(".experts.", w)
        return {name.replace(".experts..", f"{module}."): t for name, t in stored.items()}, values
    groups = {"W4A16": ["re:.*mlp.*"], "group_1": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int"}}}
    config = {"quantization_config": {**CT["quantization_config"], "config_groups": groups,
                                      "ignore": ["model.nowhere", "re:.*x"]}}
    packed, twin = pair(zoo("llama"), tmp_path, change, config)
    same(packed, twin, tmp_path)


def test_an_order_of_groups_that_was_never_set(tmp_path: Path):
    stored, values = compressed()
    stored[f"{M}.weight_g_idx"] = torch.full((60,), -1, dtype=torch.int32)
    config = json.dumps({"quantization_config": {"version": "0.18.0"}})
    assert torch.equal(decoded(opened(stored, config, tmp_path).tensors[W]), values)


def test_bits_by_module(zoo, tmp_path: Path):
    """GPTQ's `dynamic` and AutoRound's `extra_config`: the shapes say it anyway."""
    def change(module: str, w: torch.Tensor):
        return gptq(8 if "down" in module else 3 if "up" in module else 4)(module, w)
    packed, twin = pair(zoo("llama"), tmp_path, change, settings(sym=False, dynamic={"+:.*down.*": {"bits": 8}}))
    same(packed, twin, tmp_path)


def test_mlx_with_settings_by_module(zoo, tmp_path: Path):
    """Others bits here, none there."""
    def change(module: str, w: torch.Tensor):
        if "down" not in module:
            return None if "up" in module else grouped("mlx")(module, w)
        if (made := grouped("mlx")(module, w)) is None:
            return None
        words = torch.from_numpy(stream(np.random.default_rng(3).integers(0, 256, w.shape), 8).view(np.uint32))
        q = torch.from_numpy(words.numpy().view(np.uint8)).float()
        s, b = (made[0][f"{module}.{k}"].float().repeat_interleave(32, 1) for k in ("scales", "biases"))
        return {**made[0], f"{module}.weight": words}, q * s + b
    each = {f"model.layers.{n}.mlp.down_proj": {"bits": 8, "group_size": 32} for n in range(2)}
    plain = {f"model.layers.{n}.mlp.up_proj": False for n in range(2)}
    packed, twin = pair(zoo("llama"), tmp_path, change, {"quantization": {"bits": 4, "group_size": 32, **each, **plain}})
    same(packed, twin, tmp_path)


@pytest.mark.parametrize("linear", ["bitlinear", "autobitlinear"])
def test_bitnet_divides_or_multiplies(linear: str, tmp_path: Path):
    q, s = torch.randint(0, 3, (8, 32)), torch.tensor([0.3])
    codes = (q.reshape(4, 2, 32) << torch.arange(0, 8, 2)[:, None, None]).sum(0).to(torch.uint8)
    made = value({"weight": codes, "weight_scale": s}, tmp_path,
                 {"quantization_config": {"quant_method": "bitnet", "linear_class": linear}})
    assert torch.equal(made, (q - 1) / s if linear == "bitlinear" else (q - 1) * s)


def test_declared_by_a_file_beside_config_json_only(zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, nvfp4)
    (packed / "hf_quant_config.json").write_text(json.dumps({"producer": {"name": "modelopt"}, "quantization": {
        "quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}}))
    same(packed, twin, tmp_path)


def test_scales_of_zero_and_the_smallest(tmp_path: Path):
    q, s = torch.randint(-128, 128, (4, 32), dtype=torch.int8), torch.tensor([[0.0], [2.0**-149], [1.0], [-1.0]])
    assert torch.equal(value({"weight": q, "weight_scale": s}, tmp_path), q.float() * s)


def test_what_a_weight_came_without_or_with(zoo, tmp_path: Path):
    """A part that is missing, a part without its weight, a layout of another kernel: one error that names it."""
    def without(*parts: str):
        def change(module: str, w: torch.Tensor):
            made = gptq()(module, w)
            return made and ({n: t for n, t in made[0].items() if not n.endswith(parts)}, made[1])
        return change

    def columns(module: str, w: torch.Tensor):
        return ({f"{module}.weight": w.to(torch.int8), f"{module}.SCB": torch.rand(len(w)),
                 f"{module}.weight_format": torch.tensor(1, dtype=torch.uint8)}, w) if "proj" in module else None
    cases = {"scales": (without(".scales"), r"other parts of the weight .*qweight"),
             "weights": (without(".qweight"), "a quantized weight that is not there"),
             "layout": (columns, "rows one after another"),
             "alone": (lambda m, w: ({f"{m}.weight": w, f"{m}.weight_scale_inv": torch.ones(1, dtype=torch.uint8)}, w),
                       "a quantized weight that is not there")}
    for case, (change, message) in cases.items():
        packed, _ = pair(zoo("llama"), tmp_path / case, change, settings())
        with pytest.raises(GgufxError, match=message):
            ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_negative_scale_of_nvfp4_is_decoded_but_not_kept(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        made = nvfp4(module, w)
        if made and module.endswith("1.mlp.up_proj"):
            made[0][f"{module}.weight_scale"].view(torch.uint8)[3, 1] |= 0x80
            made[1][3, 16:32] *= -1
        return made
    packed, twin = pair(zoo("llama-256"), tmp_path, change)
    same(packed, twin, tmp_path)
    with pytest.raises(GgufxError, match="NaN or negative"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")


@pytest.mark.parametrize("case", ["FP8", "NF4", "GPTQ", "int4 experts"])
def test_commands_take_packed_checkpoints(case: str, zoo, tmp_path: Path):
    """inspect, --dry-run, verify, an adapter's base."""
    model, change, declared = {
        "FP8": ("llama", shaped((), "{m}.weight_scale_inv"), {}), "NF4": ("llama", nf4, {}),
        "GPTQ": ("llama", gptq(sym=True), settings(sym=True)), "int4 experts": ("deepseek3", int4, CT)}[case]
    packed, twin = pair(zoo(model), tmp_path, change, declared)
    assert ggufx.inspect(packed).parameters == ggufx.inspect(twin).parameters
    assert ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).facts["parameters"] == ggufx.inspect(twin).parameters
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", outtype="f32")
    assert ggufx.verify(packed, tmp_path / "a.gguf").same
    assert ggufx.verify(packed, twin).same
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    out, inner = load_file(twin / "model.safetensors")["model.layers.0.self_attn.o_proj.weight"].shape
    prefix = "base_model.model.model.layers.0.self_attn.o_proj"
    save_file({f"{prefix}.lora_A.weight": torch.rand(4, inner), f"{prefix}.lora_B.weight": torch.rand(out, 4)},
              adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    for base in (packed, twin):
        ggufx.lora_to_gguf(adapter, base=base, outfile=tmp_path / f"{base.name}.gguf")
    assert tensors(tmp_path / "packed.gguf") == tensors(tmp_path / "twin.gguf")
    assert ggufx.verify(adapter, tmp_path / "packed.gguf", base=packed).same
    notes = ggufx.merge_lora(adapter, tmp_path / "merged", base=packed, dry_run=True).notes
    assert sum("is not quantized again" in note for note in notes) == 1


@pytest.mark.parametrize("group", [32, -1])
def test_a_zero_of_gptq_that_is_stored_as_all_ones(group: int, tmp_path: Path):
    """Version 1 stores it less one, round the range; -1: a row is one group."""
    rows, cols = 32, 64
    groups = 1 if group == -1 else cols // group
    q, z = torch.randint(0, 16, (rows, cols)).numpy(), torch.randint(0, 16, (rows, groups)).numpy()
    z[::2] = 0
    s = torch.rand(groups, rows).half()
    stored = {"qweight": torch.from_numpy(stream(q, 4).T.copy()), "scales": s,
              "qzeros": torch.from_numpy(stream((z.T - 1) & 15, 4))}
    made = value(stored, tmp_path, settings(4, group, sym=False))
    each = cols // groups
    assert torch.equal(made, torch.from_numpy(q - z.repeat(each, 1)).float() * s.float().T.repeat_interleave(each, 1))


def hqq(**more: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    path, case = Path(__file__).parents[3] / "golden" / "packed" / "hqq.safetensors", "int4"
    found = load_file(path)
    stored = {name.removeprefix(f"{case}/"): t for name, t in found.items() if name.startswith(f"{case}/")}
    return {**stored, **{name.replace(".W_q", f".{k}"): v for name in list(stored) if name.endswith(".W_q")
                         for k, v in more.items()}}, found[case]


def test_codes_of_hqq_that_are_viewed_as_floats(tmp_path: Path):
    stored, values = hqq()
    (name,) = (name for name in stored if name.endswith(".W_q"))
    stored[name] = stored[name].view(torch.float16)
    (tensor,) = opened(stored, "{}", tmp_path).tensors.values()
    np.testing.assert_array_max_ulp(decoded(tensor).numpy(), values.numpy(), 1)


def test_scales_of_hqq_that_are_quantized_themselves(tmp_path: Path):
    stored, _ = hqq(quant_scale=torch.ones(1, dtype=torch.uint8))
    with pytest.raises(GgufxError, match="quantized themselves"):
        opened(stored, "{}", tmp_path)


def test_declared_for_the_text_part_only(tmp_path: Path):
    """`text_config.quantization_config`, as of models that see."""
    q, s = torch.randn(64, 64).to(F8), torch.rand(2, 3)
    config = {"text_config": {"quantization_config": {"weight_block_size": [40, 24]}}}
    each = s.repeat_interleave(40, 0)[:64].repeat_interleave(24, 1)[:, :64]
    assert torch.equal(value({"weight": q, "weight_scale_inv": s}, tmp_path, config), q.float() * each)


def test_blocks_that_begin_again_with_each_rank_are_refused(tmp_path: Path):
    """MiMo-V2: a joined projection of two ranks of 40 rows, whose blocks of 32 are ragged twice."""
    with pytest.raises(GgufxError, match="is no part of"):
        value({"weight": torch.randn(80, 64).to(F8), "weight_scale_inv": torch.rand(4, 2)}, tmp_path,
              {"quantization_config": {"weight_block_size": [32, 32]}})


def mixed(plain_first: bool):
    """GPTQ of version 1 whose zeros are half the range but in the last group of one weight; or, in the first one, look like
    those of version 2."""
    def change(module: str, w: torch.Tensor):
        if (made := gptq(sym=True)(module, w)) is None or not module.endswith("0.mlp.up_proj"):
            return made
        zeros = made[0][f"{module}.qzeros"]
        group = 0 if plain_first else -1
        zeros[group] = -0x77777778 if plain_first else 0x66666666  # stored 8, which stands for 9; or 6, for 7
        s = made[0][f"{module}.scales"].float()[group][:, None]
        columns = slice(0, 32) if plain_first else slice(-32, None)
        made[1][:, columns] += -s if plain_first else s
        return made
    return change


@pytest.mark.parametrize("plain_first", [False, True])
def test_zeros_that_are_symmetric_in_part_only_are_read_by_the_label(plain_first: bool, zoo, tmp_path: Path):
    """Under `sym: true` too: where not all zeros of a weight agree, they say nothing of a label that lies."""
    packed, twin = pair(zoo("llama"), tmp_path, mixed(plain_first), settings(sym=True, checkpoint_format="gptq"))
    same(packed, twin, tmp_path)
    notes = str(ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).notes)
    assert ("sym is true" in notes) == plain_first


@pytest.mark.parametrize("kind", ["auto_round:auto_awq", "auto_round:awq"])
def test_autorounds_awq(kind: str, zoo, tmp_path: Path):
    declared = {"quantization_config": {"quant_method": "auto-round", "bits": 4, "group_size": 32, "packing_format": kind}}
    packed, twin = pair(zoo("llama"), tmp_path, awq("gemm"), declared)
    same(packed, twin, tmp_path)


def test_fp8_that_is_stored_as_bytes(tmp_path: Path):
    """By tools that had no type for it: only where FP8 is declared are bytes such codes."""
    q, s = torch.randn(64, 64).to(F8), torch.rand(2, 2)
    for declared, codes in (("fp8", torch.uint8), ("fbgemm_fp8", torch.int8)):
        config = {"quantization_config": {"quant_method": declared, "weight_block_size": [32, 32]}}
        folder = tmp_path / declared
        folder.mkdir()
        made = value({"weight": q.view(codes), "weight_scale_inv": s}, folder, config)
        assert torch.equal(made, q.float() * s.repeat_interleave(32, 0).repeat_interleave(32, 1))
    q8 = q.view(torch.int8)
    assert torch.equal(value({"weight": q8, "weight_scale": s[:1, :1]}, tmp_path), q8.float() * s[0, 0])


@pytest.mark.parametrize("kind", [torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz], ids=str)
def test_other_floats_of_8_bits_by_the_headers_type(kind: torch.dtype, tmp_path: Path):
    q, s = torch.randn(8, 32).to(kind), torch.rand(8, 1)
    assert torch.equal(value({"weight": q, "weight_scale": s}, tmp_path), q.float() * s)


def test_scales_of_what_was_joined_are_refused(tmp_path: Path):
    """Three numbers for one matrix: whose rows have which is not said."""
    with pytest.raises(GgufxError, match="a number per tensor, per row of 100, or per block"):
        value({"weight": torch.randn(100, 64).to(F8), "weight_scale": torch.rand(3)}, tmp_path)


def test_mxfp6(tmp_path: Path):
    """E2M3, four codes to three bytes."""
    codes = torch.randint(0, 64, (8, 64))
    e = torch.randint(118, 124, (8, 2), dtype=torch.uint8)
    packed = torch.from_numpy(stream(codes.numpy(), 6).view(np.uint8).copy())
    mantissa, exponent = codes & 7, codes >> 3 & 3
    values = torch.where(exponent == 0, mantissa / 8, (1 + mantissa / 8) * 2.0 ** (exponent - 1)) * (1 - (codes >> 5) * 2)
    assert torch.equal(value({"weight_packed": packed, "weight_scale": e}, tmp_path),
                       values * torch.exp2(e.float() - 127).repeat_interleave(32, 1))


def test_biases_that_transformers_names_otherwise(tmp_path: Path):
    """Its `metal` is MLX's affine form."""
    q, s, b = torch.randint(0, 16, (8, 64)), torch.rand(8, 2), torch.rand(8, 2)
    words = torch.from_numpy(stream(q.numpy(), 4).view(np.uint32))
    made = value({"weight": words, "scales": s, "qbiases": b}, tmp_path,
                 {"quantization_config": {"quant_method": "metal", "bits": 4, "group_size": 32}})
    assert torch.equal(made, q * s.repeat_interleave(32, 1) + b.repeat_interleave(32, 1))


PLAIN = {"bitnet, online": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"},
         "quark, fake_quantized": {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "int4"}},
                                   "export": {"weight_format": "fake_quantized"}},
         "auto-round, fake": {"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:fake"},
         "experts_int8": {"quant_method": "experts_int8"}, "unknown": {"quant_method": "newest"}}


@pytest.mark.parametrize("case", PLAIN)
def test_what_is_declared_over_plain_weights_is_said(case: str, zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, lambda module, w: None, {"quantization_config": PLAIN[case]})
    same(packed, twin, tmp_path)
    notes = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).notes
    assert sum("these are plain" in note for note in notes) == 1, notes


@pytest.mark.parametrize("declared", [
    {"quant_method": "compressed-tensors", "format": "marlin-24"}, {"quant_method": "gptq", "is_marlin_format": True},
    {"quant_method": "gptq", "checkpoint_format": "bitblas"}, {"quant_method": "auto-round", "data_type": "mx_int"},
    {"quant_method": "awq", "version": "Marlin"}, {"quant_method": "eetq"}, {"quant_method": "vptq"},
    {"quant_method": "newest"},
    {"quant_method": "quark", "global_quant_config": {"weight": [{"dtype": "fp8_e4m3"}, {"dtype": "int4"}]}},
], ids=str)  # fmt: skip
def test_layouts_that_are_not_decoded_are_named_before_anything_is_written(declared: dict, zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, gptq(sym=True), {"quantization_config": declared})
    with pytest.raises(GgufxError, match="does not decode"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not list(tmp_path.glob("*.gguf*"))
