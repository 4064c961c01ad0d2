"""FP8 with scales of every shape: the values are torch's, and the declaration is found wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ggufx.converters.errors import GgufxError
from zoo.packed import decoded, opened, pair, same, tensors

import ggufx

F8 = torch.float8_e4m3fn


def blocks(size: int = 128, scales: torch.dtype = torch.float32, name: str = "{m}.weight_scale_inv"):
    """A scale per block, ragged ones at the edges."""
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        grid = -(-w.shape[0] // size), -(-w.shape[1] // size)
        s = (torch.rand(grid, generator=torch.Generator().manual_seed(len(module))) + 0.5) * 2.0**-7
        s = torch.exp2(torch.round(torch.log2(s))).to(scales) if scales == torch.float8_e8m0fnu else s.to(scales)
        each = s.float().repeat_interleave(size, 0).repeat_interleave(size, 1)[: w.shape[0], : w.shape[1]]
        q = (w.float() / each).to(F8)
        return {f"{module}.weight": q, name.format(m=module): s}, q.float() * each
    return change


def shaped(shape, name: str, kind: torch.dtype = F8, **more: float):
    """A scale per tensor or row, in this shape."""
    def change(module: str, w: torch.Tensor):
        if "proj" not in module:
            return None
        sizes = [w.shape[0] if n == "out" else n for n in shape]
        s = torch.rand(sizes, generator=torch.Generator().manual_seed(1)) * 0.01 + 0.01
        q = (w.float() / s.reshape(-1, 1)).to(kind)
        extra = {f"{module}.{k}": torch.tensor(v) for k, v in more.items()}
        return {f"{module}.weight": q, name.format(m=module): s, **extra}, q.float() * s.reshape(-1, 1)
    return change


FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
CASES = {
    "blocks": (blocks(), FP8),
    "ragged blocks": (blocks(40), {"quantization_config": {"quant_method": "fp8", "weight_block_size": [40, 40]}}),
    "blocks, bf16 scales": (blocks(40, torch.bfloat16), {"quantization_config": {"weight_block_size": [40, 40]}}),
    "blocks, e8m0 scales": (blocks(40, torch.float8_e8m0fnu), {"quantization_config": {"weight_block_size": [40, 40]}}),
    "blocks, undeclared": (blocks(), {}),
    "blocks, own name": (blocks(name="{m}.scale"), FP8),
    "blocks of compressed-tensors": (blocks(32, name="{m}.weight_scale"), {"quantization_config": {
        "quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"block_structure": "32x32"}}}}}),
    "per tensor": (shaped((), "{m}.weight_scale_inv", activation_scale=0.5), {}),
    "per tensor, autofp8": (shaped((1,), "{m}.weight_scale", input_scale=0.5, k_scale=0.5), {}),
    "per tensor, mistral": (shaped((), "{m}.qscale_weight", qscale_act=0.5), {}),
    "per channel": (shaped(("out", 1), "{m}.weight_scale"), {}),
    "per channel, flat": (shaped(("out",), "{m}.weight_scale"), {}),
    "e5m2": (shaped(("out",), "{m}.weight_scale", torch.float8_e5m2), {}),
    "e4m3fnuz": (shaped(("out",), "{m}.weight_scale", torch.float8_e4m3fnuz), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_torch(case: str, zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, *CASES[case])
    same(packed, twin, tmp_path)


@pytest.mark.parametrize("model", ["qwen3moe", "deepseek3", "phi3", "gemma2"])
def test_rules_act_on_what_was_decoded(model: str, zoo, tmp_path: Path):
    """Experts that are stacked, a kv_b that is split and turned, projections that are taken apart."""
    change = blocks(24)
    packed, twin = pair(zoo(model), tmp_path, change, {"quantization_config": {"weight_block_size": [24, 24]}})
    same(packed, twin, tmp_path)
    same(packed, twin, tmp_path, "bf16")


def test_auto_is_bf16_and_says_so(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, *CASES["ragged blocks"])
    assert "FP8 blocks decoded to BF16" in ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).notes
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert {kind for kind, _ in tensors(tmp_path / "a.gguf").values()} == {"F32", "BF16"}


def test_many_types_in_one_pass_and_in_small_tiles(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, *CASES["ragged blocks"])
    ggufx.hf_to_gguf(packed, tmp_path / "{outtype}.gguf", outtype="f32,bf16,q8_0", plain=True)
    for outtype in ("f32", "bf16", "q8_0"):
        ggufx.hf_to_gguf(packed, tmp_path / "small.gguf", outtype=outtype, plain=True, max_memory=4096, force=True)
        assert (tmp_path / "small.gguf").read_bytes() == (tmp_path / f"{outtype}.gguf").read_bytes()


def test_scales_of_activations_are_left_out_in_one_line(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, *CASES["per tensor, autofp8"])
    notes = [n for n in ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True).notes if "scales are not part" in n]
    assert notes == ["activation and KV-cache scales are not part of GGUF: 28 tensors left out (input_scale, k_scale)"]


def test_scales_of_a_cache_over_plain_weights(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        return {f"{module}.weight": w, f"{module}.k_scale": torch.ones(1)}, w
    scheme = {"quantization_config": {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8}}}
    packed, twin = pair(zoo("llama"), tmp_path / "a", change, scheme)
    same(packed, twin, tmp_path)
    undeclared, _ = pair(zoo("llama"), tmp_path / "b", change)
    with pytest.raises(GgufxError, match="no rule of this architecture takes the tensor"):
        ggufx.hf_to_gguf(undeclared, tmp_path / "b.gguf")


def test_back_comes_a_plain_checkpoint(zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, *CASES["ragged blocks"])
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    notes = ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back", dry_run=True).notes
    ggufx.gguf_to_hf(tmp_path / "a.gguf", tmp_path / "back")
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())
    assert any("was quantized (FP8 blocks)" in note for note in notes)
    ggufx.hf_to_gguf(tmp_path / "back", tmp_path / "again.gguf", outtype="bf16", plain=True)
    ggufx.hf_to_gguf(packed, tmp_path / "plain.gguf", outtype="bf16", plain=True)
    assert tensors(tmp_path / "again.gguf") == tensors(tmp_path / "plain.gguf")


@pytest.mark.parametrize("kind", ["fp8", "nvfp4"])
def test_inputs_that_are_scaled_before_a_weight(kind: str, zoo, tmp_path: Path):
    """ModelOpt's pre_quant_scale: part of the weight."""
    from .test_hub_models import nvfp4

    def change(module: str, w: torch.Tensor):
        made = nvfp4(module, w) if kind == "nvfp4" else shaped((), "{m}.weight_scale")(module, w)
        if made is None:
            return None
        p = torch.rand(w.shape[1], generator=torch.Generator().manual_seed(2)) + 0.5
        return {**made[0], f"{module}.pre_quant_scale": p}, made[1] * p
    packed, twin = pair(zoo("llama"), tmp_path, change)
    same(packed, twin, tmp_path)


@pytest.mark.parametrize("name", ["svdquant_lora_a", "smoothing_scale"])
def test_a_part_of_a_weight_that_is_not_computed_is_never_dropped(name: str, zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        made = shaped((), "{m}.weight_scale")(module, w)
        return made and ({**made[0], f"{module}.{name}": torch.ones(4)}, made[1])
    packed, _ = pair(zoo("llama"), tmp_path, change)
    with pytest.raises(GgufxError, match="is part of a quantized weight that ggufx does not decode"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")


def wrong(shape):
    """Scales of this shape, whatever the weight's."""
    return lambda m, w: ({f"{m}.weight": w.to(F8), **({f"{m}.weight_scale": torch.ones(shape)} if shape else {})},
                         w.float()) if "proj" in m else None


@pytest.mark.parametrize(("change", "settings", "message"), [
    (wrong(None), {}, "an FP8 weight without a scale"),
    (wrong((7,)), {}, "is no part of"),
    (wrong((0,)), {}, "is no part of"),
    (wrong((3, 5, 7)), {}, "is no part of"),
    (blocks(40), FP8, "is no part of"),
    (blocks(), {"quantization_config": {"weight_block_size": [0, 128]}}, "weight_block_size"),
])
def test_what_does_not_fit_is_one_error(change, settings, message: str, zoo, tmp_path: Path):
    packed, _ = pair(zoo("llama"), tmp_path, change, settings)
    with pytest.raises(GgufxError, match=message):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_nan_is_refused_by_name(zoo, tmp_path: Path):
    def change(module: str, w: torch.Tensor):
        return ({f"{module}.weight": w.to(F8), f"{module}.weight_scale": torch.full((1,), torch.nan)}, w.float()) \
            if module.endswith("0.mlp.up_proj") else None
    packed, _ = pair(zoo("llama"), tmp_path, change)
    with pytest.raises(GgufxError, match="nan in row 0, column 0 has no place"):
        ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_verify_and_inspect_see_weights(zoo, tmp_path: Path):
    packed, twin = pair(zoo("llama"), tmp_path, *CASES["ragged blocks"])
    ggufx.hf_to_gguf(packed, tmp_path / "a.gguf")
    ggufx.hf_to_gguf(twin, tmp_path / "f32.gguf", outtype="f32")
    assert ggufx.verify(packed, tmp_path / "a.gguf").same
    assert ggufx.verify(packed, tmp_path / "f32.gguf").same
    assert {str(v) for v in ggufx.verify(packed, twin).verdicts} == {"identical"}
    assert ggufx.verify(packed, packed).same
    found = ggufx.inspect(packed)
    assert found.parameters == ggufx.inspect(twin).parameters
    assert found.types["FP8 blocks"][0] == 14


@pytest.mark.parametrize("shape", [(4, 96, 64), (4, 256, 64)])
def test_stacks_of_matrices(shape, tmp_path: Path):
    """Fused experts: the parts hang on the parameter's name, blocks begin anew with each matrix, tiles are experts."""
    from ggufx.converters.io.safetensors import read_safetensors_header
    from ggufx.converters.sources.hf_folder import Checkpoint
    from ggufx.converters.sources.packed.logical import logical
    from safetensors.torch import save_file

    grid = (shape[0], -(-shape[1] // 128), 1)
    q, s = torch.randn(shape).to(F8), torch.rand(grid)
    save_file({"experts.gate_up_proj": q, "experts.gate_up_proj_scale_inv": s}, tmp_path / "m.safetensors")
    found = logical(Checkpoint(tmp_path, {}, read_safetensors_header(tmp_path / "m.safetensors").tensors))
    (tensor,) = found.tensors.values()
    assert (tensor.name, tensor.shape, tensor.count) == ("experts.gate_up_proj", shape, 4)


def test_parts_in_different_files(zoo, tmp_path: Path):
    """A weight in one shard, its scale in another, and the plan as JSON."""
    from ggufx.converters.plan.plan import ConversionPlan
    from safetensors.torch import load_file, save_file

    packed, twin = pair(zoo("llama"), tmp_path, *CASES["ragged blocks"])
    stored = load_file(packed / "model.safetensors")
    (packed / "model.safetensors").unlink()
    for number, names in ((1, [n for n in stored if not n.endswith("_inv")]), (2, [n for n in stored if n.endswith("_inv")])):
        save_file({n: stored[n] for n in names}, packed / f"model-0000{number}-of-00002.safetensors", metadata={"format": "pt"})
    same(packed, twin, tmp_path)
    plan = ggufx.hf_to_gguf(packed, tmp_path / "a.gguf", dry_run=True)
    assert ConversionPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("scale", [(3, 1, 40), (3, 40, 1)])
def test_scales_of_experts_that_are_stored_turned(scale, tmp_path: Path):
    """Llama 4 by FBGEMM: a scale per output, which is a column of what is stored."""
    q, s = torch.randn(3, 24, 40).to(F8), torch.rand(scale)
    made = opened({"experts.down_proj": q, "experts.down_proj_scale": s}, "{}", tmp_path)
    assert torch.equal(decoded(made.tensors["experts.down_proj"]), q.float() * s.reshape(3, 1, 40))


def test_a_number_for_some_rows_is_no_block(tmp_path: Path):
    with pytest.raises(GgufxError, match="is no part of"):
        opened({"m.weight": torch.randn(64, 40).to(F8), "m.weight_scale": torch.rand(4, 1)}, "{}", tmp_path)
