"""Write tests/golden/packed/LIBRARY.safetensors: weights as the formats' own libraries store them, and the values that these
read back.

Usage: python scripts/golden/packed.py LIBRARY ...     (compressed-tensors, compressed-tensors-sparse, bitsandbytes,
torchao, mlx, hqq; sparse: compressed-tensors before 0.15)
Each library must be there beside ggufx's own environment; its version is written into the file. Each case is a matrix, stored
under "CASE/model.layers.0.NAME", and the floats that the library makes of it, under "CASE"; the declaration is in the metadata,
with what the file's own says of the weight under "__metadata__".
"""

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "packed"
M = "model.layers.0."
Case = tuple[str, dict[str, torch.Tensor], torch.Tensor, dict]  # name, stored tensors of the module, values, declaration


def weight(rows: int = 32, cols: int = 192, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return (torch.randn((rows, cols), generator=torch.Generator().manual_seed(seed)) * 0.05).to(dtype)


def compressed_tensors() -> Iterator[Case]:
    from compressed_tensors.compressors.base import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    def case(name: str, format: str, dtype: torch.dtype, w: torch.Tensor, **arguments) -> Case:
        args = QuantizationArgs(**arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=args, format=format)
        group = args.group_size or w.shape[1]
        if args.strategy in ("group", "tensor_group"):
            grouped = w.float().reshape(w.shape[0], -1, group)
            low, high = grouped.amin(-1), grouped.amax(-1)
        elif args.strategy == "tensor":
            low, high = w.float().min().reshape(1), w.float().max().reshape(1)
        elif args.strategy == "block":
            r, c = args.block_structure
            blocks = w.float().reshape(w.shape[0] // r, r, w.shape[1] // c, c)
            low, high = blocks.amin((1, 3)), blocks.amax((1, 3))
        else:
            low, high = w.float().amin(1, True), w.float().amax(1, True)
        extra = {}
        if format == "nvfp4-pack-quantized":
            extra["weight_global_scale"] = (448.0 * 6.0 / w.float().abs().max()).reshape(1)
        scale, zero = calculate_qparams(low, high, args, global_scale=extra.get("weight_global_scale"))
        state = {"weight": w, "weight_scale": scale if format.startswith(("nvfp4", "mxfp")) else scale.to(dtype), **extra}
        if not args.symmetric:
            state["weight_zero_point"] = zero
        compressor = BaseCompressor.get_value_from_registry(format)
        stored = compressor.compress(dict(state), scheme)
        values = compressor.decompress(dict(stored), scheme)["weight"]
        settings = {"quant_method": "compressed-tensors", "format": format,
                    "config_groups": {"group_0": {"weights": json.loads(args.model_dump_json())}}}
        return name, {f"m.{k}": v for k, v in stored.items()}, values, {"quantization_config": settings}

    for bits in (2, 3, 4, 5, 6, 7, 8):
        yield case(f"int{bits} group", "pack-quantized", torch.bfloat16, weight(seed=bits), num_bits=bits, type="int",
                   strategy="group", group_size=64, symmetric=True)
        yield case(f"int{bits} group asymmetric", "pack-quantized", torch.float16, weight(seed=bits), num_bits=bits, type="int",
                   strategy="group", group_size=32, symmetric=False)
    for name, kind, cols in (("int4 channel", torch.float32, 192), ("int4 odd columns", torch.bfloat16, 100)):
        yield case(name, "pack-quantized", kind, weight(cols=cols), num_bits=4, type="int", strategy="channel", symmetric=True)
    yield case("int8 channel", "int-quantized", torch.bfloat16, weight(), num_bits=8, type="int", strategy="channel",
               symmetric=True)
    yield case("int8 channel asymmetric", "int-quantized", torch.bfloat16, weight(), num_bits=8, type="int", strategy="channel",
               symmetric=False)
    yield case("fp8 channel", "float-quantized", torch.bfloat16, weight(), num_bits=8, type="float", strategy="channel",
               symmetric=True)
    yield case("fp8 tensor", "float-quantized", torch.float32, weight(), num_bits=8, type="float", strategy="tensor",
               symmetric=True)
    yield case("fp8 block", "float-quantized", torch.bfloat16, weight(64, 96), num_bits=8, type="float", strategy="block",
               block_structure=[32, 32], symmetric=True)
    yield case("nvfp4", "nvfp4-pack-quantized", torch.bfloat16, weight(), num_bits=4, type="float", strategy="tensor_group",
               group_size=16, symmetric=True, scale_dtype="torch.float8_e4m3fn")
    yield case("mxfp4", "mxfp4-pack-quantized", torch.bfloat16, weight(), num_bits=4, type="float", strategy="group",
               group_size=32, symmetric=True, scale_dtype="torch.uint8")
    yield case("mxfp8", "mxfp8-quantized", torch.bfloat16, weight(), num_bits=8, type="float", strategy="group",
               group_size=32, symmetric=True, scale_dtype="torch.uint8")


def sparse() -> Iterator[Case]:
    from compressed_tensors.compressors import BitmaskCompressor, Sparse24BitMaskCompressor
    from compressed_tensors.config import BitmaskConfig, Sparse24BitMaskConfig

    for form, compressor in (("24", Sparse24BitMaskCompressor(Sparse24BitMaskConfig())),
                             ("any", BitmaskCompressor(BitmaskConfig()))):
        for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn, torch.int8):
            w = weight(cols=100, seed=5, dtype=torch.float32)
            w[torch.rand(w.shape, generator=torch.Generator().manual_seed(6)) < 0.6] = 0
            w[3] = 0
            scale = torch.full((32, 1), 0.01, dtype=torch.bfloat16) if dtype.itemsize == 1 else None
            codes = (w * 1000).round().clamp(-128, 127).to(dtype) if scale is not None else w.to(dtype)
            state = dict(compressor.compress({"m.weight": codes}))
            values = compressor.decompress_weight({name.removeprefix("m."): t for name, t in state.items()})
            if scale is not None:
                state["m.weight_scale"], values = scale, values.to(torch.bfloat16) * scale
            yield (f"{form} {dtype}", state, values, {"quantization_config": {"quant_method": "compressed-tensors"}})


def bitsandbytes() -> Iterator[Case]:
    import bitsandbytes.functional as F

    for kind in ("nf4", "fp4"):
        for nested in (False, True):
            for dtype in (torch.bfloat16, torch.float16):
                for shape in ((32, 192), (5, 90)):
                    w = weight(*shape, seed=len(kind), dtype=dtype)
                    packed, state = F.quantize_4bit(w, blocksize=64, compress_statistics=nested, quant_type=kind)
                    values = F.dequantize_4bit(packed, state)
                    stored = {f"m.weight.{k}": v for k, v in state.as_dict(packed=True).items()}
                    yield (f"{kind}{' nested' * nested} {dtype} {shape}", {"m.weight": packed, **stored}, values,
                           {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": kind}})
    w = weight(seed=9, dtype=torch.float16)
    codes, scales, _ = F.int8_vectorwise_quant(w)
    yield ("int8", {"m.weight": codes, "m.SCB": scales, "m.weight_format": torch.tensor(0, dtype=torch.uint8)},
           F.int8_vectorwise_dequant(codes, scales), {"quantization_config": {"load_in_8bit": True}})


def torchao() -> Iterator[Case]:
    import torch.nn as nn
    from torchao.prototype.mx_formats.mx_tensor import MXTensor
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        MappingType,
        PerAxis,
        PerGroup,
        quantize_,
    )

    def declared(said: dict[str, str]) -> dict:
        return {"quantization_config": {"quant_method": "torchao"}, "__metadata__": {f"{M}m.weight": said["m.weight"]}}

    for name, config in (("int8", Int8WeightOnlyConfig(version=2)), ("fp8", Float8WeightOnlyConfig(version=2)),
                         ("int4 group", IntxWeightOnlyConfig(torch.int4, PerGroup(32), version=2)),
                         ("int4 zeros", IntxWeightOnlyConfig(torch.int4, PerGroup(32), MappingType.ASYMMETRIC, version=2)),
                         ("int8 axis", IntxWeightOnlyConfig(torch.int8, PerAxis(0), version=2))):
        linear = nn.Linear(192, 32, bias=False).to(torch.bfloat16)
        with torch.no_grad():
            linear.weight.copy_(weight(seed=4))
        quantize_(linear, config)
        tensors, said = flatten_tensor_state_dict({"m.weight": linear.weight})
        yield name, dict(tensors), linear.weight.dequantize(), declared(said)
    for name, packed in (("mxfp8", MXTensor.to_mx(weight(seed=4), torch.float8_e4m3fn, 32)),
                         ("mxfp4", MXTensor.to_mx(weight(seed=4), torch.float4_e2m1fn_x2, 32)),
                         ("nvfp4", NVFP4Tensor.to_nvfp4(weight(seed=4))),
                         ("nvfp4 whole", NVFP4Tensor.to_nvfp4(weight(seed=4), per_tensor_scale=torch.tensor(0.0123)))):
        tensors, said = flatten_tensor_state_dict({"m.weight": packed})
        yield name, dict(tensors), packed.dequantize(torch.float32), declared(said)


def mlx() -> Iterator[Case]:
    import mlx.core as mx
    import numpy as np

    def tensor(x) -> torch.Tensor:
        if x.dtype == mx.bfloat16:
            return torch.from_numpy(np.array(x.view(mx.uint16))).view(torch.bfloat16)
        return torch.from_numpy(np.array(x))

    for bits in (2, 3, 4, 5, 6, 8):
        w = mx.array(weight(seed=bits).float().numpy())
        codes, scales, biases = mx.quantize(w, group_size=64, bits=bits)
        yield (f"int{bits}", {"m.weight": tensor(codes), "m.scales": tensor(scales), "m.biases": tensor(biases)},
               tensor(mx.dequantize(codes, scales, biases, 64, bits)), {"quantization": {"group_size": 64, "bits": bits}})
    for mode, group, bits in (("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)):
        w = mx.array(weight(seed=bits).float().numpy()).astype(mx.bfloat16)
        codes, scales = mx.quantize(w, group_size=group, bits=bits, mode=mode)
        yield (mode, {"m.weight": tensor(codes), "m.scales": tensor(scales)},
               tensor(mx.dequantize(codes, scales, None, group, bits, mode)),
               {"quantization": {"group_size": group, "bits": bits, "mode": mode}})


def hqq() -> Iterator[Case]:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    for bits, axis in ((8, 1), (4, 1), (3, 1), (2, 1), (1, 1), (4, 0), (3, 0)):
        linear = torch.nn.Linear(192, 32, bias=False)
        with torch.no_grad():
            linear.weight.copy_(weight(seed=bits))
        settings = BaseQuantizeConfig(nbits=bits, group_size=64, axis=axis)
        made = HQQLinear(linear, settings, compute_dtype=torch.float32, device="cpu")
        made.encoded_state_dict = True
        stored = {f"m.{k}": v for k, v in made.state_dict().items() if isinstance(v, torch.Tensor)}
        yield (f"int{bits}{' axis 0' * (axis == 0)}", stored, made.dequantize(),
               {"quantization_config": {"quant_method": "hqq"}})


CASES = {"compressed-tensors": compressed_tensors, "compressed-tensors-sparse": sparse,
         "bitsandbytes": bitsandbytes, "torchao": torchao, "mlx": mlx, "hqq": hqq}

if __name__ == "__main__":
    for library in sys.argv[1:]:
        tensors, settings = {}, {}
        for case, stored, values, declared in CASES[library]():
            tensors |= {f"{case}/{M}{name}": t.contiguous().cpu() for name, t in stored.items()}
            tensors[case] = values.detach().contiguous().cpu()
            settings[case] = json.dumps(declared)
        GOLDEN.mkdir(parents=True, exist_ok=True)
        version = importlib.metadata.version(library.removesuffix("-sparse"))
        save_file(tensors, GOLDEN / f"{library}.safetensors", metadata={"made by": f"{library} {version}", **settings})
        print(library, version, len(settings), "cases")
