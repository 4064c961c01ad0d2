"""The table of stored forms: how the parts of a weight are called, and what makes it of them.

In templates {w} is the weight's own name, {m} its module's, which is that without ".weight". A row holds where the codes are of
one of its types, every part that it needs is there and their shapes fit; the first row that holds counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...io.tensors import StoredTensor
from . import bands, eight_bits, four_bits, masked
from . import whole_numbers as ints
from .tensor import PackedTensor, Parts
from .torchao import torchao

SCALES = ("{w}_scale_inv", "{w}_scale")
F8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")


@dataclass(frozen=True)
class Form:
    """A row. `parts`: role -> what it may be called; those of `needs` must be there, and `fits`, if given, hold of them.
    `methods`: what must be declared, where names and shapes are those of another form too."""

    codes: str
    types: tuple[str, ...]
    build: Callable[[Parts], PackedTensor]
    parts: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...] = ("scales",)
    fits: Callable[[dict[str, StoredTensor]], bool] | None = None
    methods: tuple[str, ...] = ()

    @property
    def certain(self) -> bool:
        """Whether codes of this name are this form's, or another's of the same name, and nothing else."""
        return self.codes not in ("{w}",)

    def holds(self, parts: dict[str, StoredTensor], method: str) -> bool:
        """Whether parts by role can be the form's. `method`: what is declared."""
        if (self.methods and method not in self.methods) or not all(role in parts for role in self.needs):
            return False
        return self.fits is None or (all(parts[role].shape for role in ("codes", *self.needs)) and self.fits(parts))

    def weight(self, name: str) -> str | None:
        """The weight whose codes have this name."""
        ending = self.codes[3:]
        if not name.endswith(ending):
            return None
        stem = name[: len(name) - len(ending)]
        return f"{stem}.weight" if self.codes[1] == "m" else stem

    def companions(self, weight: str, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
        """The other parts of a weight, by role."""
        stems = {"w": weight, "m": weight.removesuffix(".weight")}
        found = {}
        for role, templates in self.parts.items():
            for template in templates:
                if (part := stored.get(stems[template[1]] + template[3:])) is not None:
                    found[role] = part
                    break
        return found


EIGHT = ("U8", "F8_E8M0")  # exponents
SMOOTHED = {"columns": ("{m}.pre_quant_scale",)}  # ModelOpt: of inputs, where the norm before them did not take it
GPTQ = {"scales": ("{m}.scales",), "zeros": ("{m}.qzeros",), "groups": ("{m}.g_idx",)}
SPARSE = ("F32", "F16", "BF16", "I8", *F8)
STATES = ("{w}.quant_state.bitsandbytes__nf4", "{w}.quant_state.bitsandbytes__fp4")
HQQ = {"scales": ("{m}.scale",), "zeros": ("{m}.zero",),
       **{k: ("{m}." + k,) for k in (*bands.HQQ_SETTINGS, *bands.HQQ_OTHERS)}}


def _under(name: str) -> dict[str, tuple[str, ...]]:
    """The parts of a weight that is stored under a mask, behind its module's name or its own."""
    return {"mask": (f"{name}.bitmask",), "shape": (f"{name}.shape",), "offsets": (f"{name}.row_offsets",), "scales": SCALES,
            "zeros": ("{w}_zero_point",)}


def _sixteenth(parts: dict[str, StoredTensor]) -> bool:
    codes, scales = parts["codes"].shape, parts["scales"]
    return scales.type in EIGHT and (*scales.shape[:-1], 16 * scales.shape[-1]) == codes


def _halved(parts: dict[str, StoredTensor]) -> bool:
    codes, scales = parts["codes"].shape, parts["scales"]
    return scales.type in ("F32", "F16", "BF16") and len(scales.shape) == 2 and scales.shape[0] == 2 * codes[0]


FORMS = (
    Form("{m}.embedding_quantized", ("U8", "I8"), ints.gemma, {"scales": ("{m}.embedding_scale",)}, methods=("gemma",)),
    Form("{w}", ("U8", "I8"), ints.gemma, {"scales": ("{w}_scale",)}, methods=("gemma",)),
    Form("{w}_packed", ("I32",), ints.compressed, {
        "scales": SCALES, "shape": ("{w}_shape",), "zeros": ("{w}_zero_point",), "groups": ("{w}_g_idx",)},
         ("scales", "shape")),
    Form("{w}_packed", ("U8",), four_bits.nvfp4, {"scales": SCALES, "divisor": ("{w}_global_scale",)}, ("scales", "divisor")),
    Form("{w}_packed", ("U8",), four_bits.mxfp4, {"scales": SCALES}),
    Form("{m}.qweight", ("I32",), ints.gptq, GPTQ, fits=lambda p: p["codes"].shape[-1] == p["scales"].shape[-1]),
    Form("{m}.qweight", ("I32",), ints.awq, GPTQ, fits=lambda p: 8 * p["codes"].shape[-1] == p["scales"].shape[-1]),
    Form("{m}.qweight", ("I32",), ints.awq_gemv, GPTQ, ("scales", "zeros"),
         fits=lambda p: p["codes"].shape[0] == p["scales"].shape[0]),
    Form("{m}.qweight", ("I16",), ints.awq_fast, {"scales": ("{m}.scales",), "biases": ("{m}.qzeros",)}, ("scales", "biases")),
    Form("{w}", ("I32",), ints.quark, {"scales": ("{w}_scale",), "zeros": ("{w}_zero_point",)}),
    Form("{w}", ("U32",), ints.mlx, {"scales": ("{m}.scales",), "biases": ("{m}.biases", "{m}.qbiases")}, ("scales", "biases")),
    Form("{w}", ("U32",), four_bits.mlx, {"scales": ("{m}.scales",)}),
    Form("{w}", ("U8", "I8"), ints.modelopt, {"scales": ("{w}_scale",), "step": ("{w}_scale_2",), **SMOOTHED}, fits=_halved),
    Form("{w}", ("U8", "I8"), four_bits.nvfp4, {"scales": ("{w}_scale",), "factor": ("{w}_scale_2",), **SMOOTHED},
         ("scales", "factor")),
    Form("{w}", ("U8", "I8"), four_bits.mxfp4, {"scales": (*SCALES, "{m}.scale")}, fits=_sixteenth),
    Form("{w}", ("U8", "I8"), eight_bits.fp8_bytes, {"scales": (*SCALES, "{m}.scale")}, methods=("fp8", "fbgemm_fp8")),
    Form("{w}", ("U8", "F32", "F16", "BF16"), four_bits.bitsandbytes, {
        "scales": ("{w}.absmax",), "values": ("{w}.quant_map",), "scale_values": ("{w}.nested_quant_map",),
        "scale_scales": ("{w}.nested_absmax",), "state": STATES}, ("scales", "values", "state")),
    Form("{m}.W_q", ("U8", "I32", "F16", "BF16", "F32"), bands.hqq, HQQ, ("scales", "zeros", *bands.HQQ_SETTINGS)),
    Form("{w}", ("U8",), bands.bitnet, {"scales": ("{w}_scale",)}, fits=lambda p: p["scales"].shape == (1,)),
    Form("{m}._weight_qdata", ("I8", "U8", *F8), torchao, {
        "scales": ("{m}._weight_scale",), "zeros": ("{m}._weight_zero_point",), "factor": ("{m}._weight_per_tensor_scale",),
        "columns": ("{m}._weight_act_pre_scale",)}),
    Form("{w}.compressed", SPARSE, masked.masked, _under("{w}"), ("mask", "shape"),  # before 0.9, biases and norms too
         fits=lambda p: p["codes"].name.endswith((".weight.compressed", ".bias.compressed"))),
    Form("{m}.compressed", SPARSE, masked.masked, _under("{m}"), ("mask", "shape")),
    Form("{w}", F8, eight_bits.fp8, {"scales": (*SCALES, "{m}.scale", "{m}.qscale_weight"), **SMOOTHED}),
    Form("{w}", ("I8",), eight_bits.bitsandbytes, {"scales": ("{m}.SCB",), "layout": ("{m}.weight_format",)}),
    Form("{w}", ("I8",), eight_bits.whole, {"scales": SCALES, "zeros": ("{w}_zero_point",), **SMOOTHED}),
)

BY_TYPE = {kind: tuple(form for form in FORMS if kind in form.types) for form in FORMS for kind in form.types}

# Companions of a weight that are no part of it, by the last word of their names: activations' and caches' scales.
DROPPED = frozenset((
    "input_scale", "activation_scale", "input_activation_scale", "output_scale", "output_activation_scale",
    "input_global_scale", "input_zero_point", "output_zero_point", "k_scale", "v_scale", "q_scale", "kv_scale",
    "k_zero_point", "v_zero_point", "prob_scale", "qscale_act", "azp_adj", "input_min", "input_max", "act_scale_ub",
    "workspace", "weight_format",
))  # fmt: skip
DROPPED_ENDINGS = ("_activation_scale", "_input_scale", "_act_quant_scale", "_act_quant_zero_point", "_act_per_tensor_scale")
# Companions that mean nothing without their weight, by the ends of their names.
BOUND = (".weight_scale_inv", ".weight_scale", ".weight_scale_2", ".weight_global_scale", ".weight_zero_point", ".qzeros",
         ".scales", ".absmax", ".SCB")  # fmt: skip
# Companions that are part of a weight in a way that is not computed here, by the ends of their names.
KEPT_OUT = {
    "act.scales": "AWQ divides what an activation gives, before the next weight",
    "smooth_scale": "its columns are scaled once more",
    "smoothing_scale": "its columns are scaled once more", "svdquant_lora_a": "it has a low-rank part beside its codes",
    "svdquant_lora_b": "it has a low-rank part beside its codes",
}  # fmt: skip
