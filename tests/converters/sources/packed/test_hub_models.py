"""The Hub's combinations of models and stored forms: llama.cpp computes what transformers does on the decoded weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo import peers
from zoo.models import MODELS
from zoo.packed import pair, same
from zoo.proof import forward, runtime

import ggufx

from .test_fp8 import blocks, shaped
from .test_whole_numbers import awq, gptq, settings, stream

E2M1 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6])
NF4 = torch.tensor([-1, -.6961928, -.52507305, -.3949175, -.28444138, -.18477343, -.09105004, 0, .0795803, .1609302, .2461123,
                    .33791524, .44070983, .562617, .72295684, 1])


def nearest(w: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return (w[..., None] - table).abs().argmin(-1).to(torch.uint8)


def nf4(module: str, w: torch.Tensor):
    """bitsandbytes, blocks of 64 over the whole matrix."""
    if "proj" not in module:
        return None
    runs = w.float().reshape(-1, 64)
    most = runs.abs().amax(1)
    q = nearest(runs / most[:, None], NF4)
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": list(w.shape)}).encode()
    flat = q.reshape(-1)
    stored = {"weight": (flat[::2] << 4 | flat[1::2])[:, None], "weight.absmax": most, "weight.quant_map": NF4.clone(),
              "weight.quant_state.bitsandbytes__nf4": torch.frombuffer(bytearray(state), dtype=torch.uint8)}
    return {f"{module}.{k}": v for k, v in stored.items()}, (NF4[q.int()] * most[:, None]).reshape(w.shape)


def nvfp4(module: str, w: torch.Tensor):
    """ModelOpt: scales of 16 numbers, and one of all, which multiply."""
    if "proj" not in module:
        return None
    runs = w.float().reshape(w.shape[0], -1, 16)
    whole = w.float().abs().max() / (6 * 448)
    s = (runs.abs().amax(-1) / 6 / whole).to(torch.float8_e4m3fn)
    each = (s.float() * whole)[..., None]
    q = nearest(runs / each.clamp_min(1e-20), E2M1).reshape(w.shape)
    stored = {"weight": q[:, ::2] | q[:, 1::2] << 4, "weight_scale": s, "weight_scale_2": whole,
              "input_scale": torch.tensor(1.0)}
    return {f"{module}.{k}": v for k, v in stored.items()}, (E2M1[q.int()].reshape(runs.shape) * each).reshape(w.shape)


def int4(module: str, w: torch.Tensor):
    """compressed-tensors, groups of 32, of routed experts only: as Kimi-K2."""
    if ".experts." not in module:
        return None
    runs = w.float().reshape(w.shape[0], -1, 32)
    s = (runs.abs().amax(-1) / 7).to(torch.bfloat16)
    q = (runs / s.float()[..., None]).round().clamp(-8, 7) + 0.0  # whole numbers have no -0
    stored = {"weight_packed": torch.from_numpy(stream(q.reshape(w.shape).int().numpy() + 8, 4)), "weight_scale": s,
              "weight_shape": torch.tensor(w.shape)}
    return {f"{module}.{k}": v for k, v in stored.items()}, (q * s.float()[..., None]).reshape(w.shape)


FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [48, 48]}}
KIMI = {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["re:.*attn.*"]}}
HUB = {
    "DeepSeek-V3, FP8 blocks": ("deepseek3", blocks(48), FP8), "Qwen3-MoE, FP8 blocks": ("qwen3moe", blocks(48), FP8),
    "Ministral, FP8 per tensor": ("ministral3", shaped((), "{m}.weight_scale_inv", activation_scale=1.0), {}),
    "Kimi-K2, int4 experts": ("deepseek3", int4, KIMI),
    "Llama, AWQ": ("llama", awq("gemm"), {"quantization_config": {"quant_method": "awq"}}),
    "Llama, GPTQ": ("llama", gptq(sym=True), settings(sym=True)),
    "Llama, NF4": ("llama", nf4, {"quantization_config": {"load_in_4bit": True}}),
    "Llama, NVFP4": ("llama", nvfp4, {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}),
}  # fmt: skip


@pytest.mark.parametrize("case", HUB)
def test_values_are_those_that_were_packed(case: str, zoo, tmp_path: Path):
    model, change, declared = HUB[case]
    same(*pair(zoo(model), tmp_path, change, declared), tmp_path)


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=f"no llama.cpp: {peers.missing_runtime()}")
@pytest.mark.parametrize("case", HUB)
def test_llama_cpp_computes_what_transformers_does(case: str, zoo, tmp_path: Path):
    model, change, declared = HUB[case]
    packed, twin = pair(zoo(model), tmp_path, change, declared)
    ggufx.hf_to_gguf(packed, tmp_path / "f32.gguf", outtype="f32")
    got = runtime(model, tmp_path / "f32.gguf")
    assert np.isfinite(got).all()
    assert peers.relative_error(got, forward(model, twin)) < MODELS[model].stored_tolerance
