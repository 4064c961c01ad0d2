"""The table of stored forms: how the parts of a weight are called, and what makes it of them.

In templates {w} is the weight's own name, {m} its module's, which is that without ".weight". A row holds where the codes are of
one of its types and every part that it needs is there; the first row that holds counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import eight_bits
from .tensor import PackedTensor, Parts

SCALES = ("{w}_scale_inv", "{w}_scale")
F8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")


@dataclass(frozen=True)
class Form:
    """A row. `parts`: role -> what it may be called; those of `needs` must be there."""

    codes: str
    types: tuple[str, ...]
    build: Callable[[Parts], PackedTensor]
    parts: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...] = ("scales",)

    def weight(self, name: str) -> str | None:
        """The weight whose codes have this name."""
        hole, ending = self.codes[:3], self.codes[3:]
        if not name.endswith(ending):
            return None
        stem = name[: len(name) - len(ending)]
        return stem if hole == "{w}" else f"{stem}.weight"


FORMS = (
    Form("{w}", F8, eight_bits.fp8, {"scales": (*SCALES, "{m}.scale", "{m}.qscale_weight")}),
    Form("{w}", ("I8",), eight_bits.bitsandbytes, {"scales": ("{m}.SCB",), "layout": ("{m}.weight_format",)}),
    Form("{w}", ("I8",), eight_bits.whole, {"scales": SCALES, "zeros": ("{w}_zero_point",)}),
)

# Companions of a weight that are no part of it, by the last word of their names: activations' and caches' scales.
DROPPED = frozenset((
    "input_scale", "activation_scale", "input_activation_scale", "output_scale", "output_activation_scale",
    "input_global_scale", "input_zero_point", "output_zero_point", "k_scale", "v_scale", "q_scale", "kv_scale",
    "k_zero_point", "v_zero_point", "prob_scale", "qscale_act", "azp_adj", "input_min", "input_max", "act_scale_ub",
    "workspace", "weight_format",
))  # fmt: skip
DROPPED_ENDINGS = ("_activation_scale", "_input_scale")
# Companions that are part of the weight in a way that is not computed here.
KEPT_OUT = {
    "pre_quant_scale": "its columns are scaled once more", "smooth_scale": "its columns are scaled once more",
    "smoothing_scale": "its columns are scaled once more", "svdquant_lora_a": "it has a low-rank part beside its codes",
    "svdquant_lora_b": "it has a low-rank part beside its codes",
}  # fmt: skip
