"""params.json of an original checkpoint: which settings there are, what each may be, and which make it another model.

Sources: llama-models `llama3/args.py` and `llama4/args.py`; mistral-inference `args.py`, mistral-common, and llama.cpp's
`conversion/mistral.py` for what published files hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import GgufxError, InputError, UnsupportedError, raise_all
from ...io.files import printable
from ...io.json_file import read_json
from ..hf_folder import safe_file
from ..weight_files import PARAMS

Maker = Literal["Meta", "Mistral"]

COUNT, NUMBER = "a whole number above 0", "a number above 0"
FLAG, TEXT, OBJECT, ANY = "true or false", "a text", "an object", ""
_SHARED = {"dim": COUNT, "n_layers": COUNT, "n_heads": COUNT, "n_kv_heads": COUNT, "norm_eps": NUMBER, "rope_theta": NUMBER,
           "vocab_size": ANY, "max_seq_len": ANY, "max_batch_size": ANY}
KEYS: Mapping[Maker, Mapping[str, str]] = {
    "Meta": {**_SHARED, "multiple_of": COUNT, "ffn_dim_multiplier": NUMBER, "use_scaled_rope": FLAG},
    "Mistral": {**_SHARED, "head_dim": COUNT, "hidden_dim": COUNT, "sliding_window": ANY, "max_position_embeddings": COUNT,
                "tied_embeddings": FLAG, "moe": OBJECT, "yarn": OBJECT, "llama_4_scaling": OBJECT, "quantization": OBJECT,
                "vision_encoder": OBJECT, "model_type": ANY, "activation": TEXT, "causal": FLAG, "use_biases": FLAG},
}
INNER: Mapping[str, Mapping[str, str]] = {
    "moe": {"num_experts": COUNT, "num_experts_per_tok": COUNT},
    "yarn": {"factor": NUMBER, "alpha": NUMBER, "beta": NUMBER, "original_max_position_embeddings": COUNT, "apply_scale": FLAG},
    "llama_4_scaling": {"beta": NUMBER, "original_max_position_embeddings": COUNT},
}
_LLAMA_4 = ("is Llama 4 in Meta's layout, where each rank mixes rows of q, k and v, and experts",
            "Take the model in Hugging Face's layout, or convert it with transformers' convert_llama4_weights_to_hf.py.")
_HF = "Take the model in Hugging Face's layout: config.json and model*.safetensors."
_VISION = ("is a Llama with cross-attention to images, which has no table", _HF)
_QUANTIZED = ("holds weights that were trained quantized, for one runtime", "Take the release in bf16.")
_LATENT = ("has latent attention (MLA), whose settings params.json does not all state", _HF)
_GROUPED = ("has experts of another kind than Mixtral's", _HF)
REFUSED: Mapping[str, tuple[str, str]] = {  # a setting -> what the model is, and the way out
    **dict.fromkeys(("moe_args", "attention_chunk_size", "nope_layer_interval", "use_qk_norm", "vision_args", "ffn_exp",
                     "attn_temperature_tuning"), _LLAMA_4),
    **dict.fromkeys(("vision_chunk_size", "vision_max_num_chunks", "vision_num_cross_attention_layers", "vision_model"),
                    _VISION),
    **dict.fromkeys(("quantization_args", "lora_args"), _QUANTIZED),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), _LATENT),
    **dict.fromkeys(("moe.first_k_dense_replace", "moe.route_every_n", "moe.expert_hidden_dim", "moe.routed_scale",
                     "moe.num_shared_experts", "moe.num_expert_groups", "moe.num_expert_groups_per_tok"), _GROUPED),
    **dict.fromkeys(("multimodal", "mamba", "conv", "n_groups"), ("is no model of text alone that has a table", _HF)),
}  # fmt: skip


@dataclass(frozen=True)
class Params:
    """Settings that are known and of the right kind; null is as if left out."""

    file: Path
    maker: Maker
    found: Mapping[str, Any]

    def need(self, key: str) -> Any:
        """InputError where it is left out."""
        if (value := self.found.get(key)) is None:
            raise self.error(key, "missing", KEYS[self.maker].get(key))
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self.found.get(key, default)

    def inner(self, key: str, name: str) -> Any:
        """A setting of an object. InputError where it is left out."""
        if (value := self.found[key].get(name)) is None:
            raise self.error(f"{key}.{name}", "missing", INNER[key][name])
        return value

    def error(self, key: str, message: str, expected: object = None, found: object = None) -> InputError:
        return InputError(f"{key}: {message}", file=self.file, expected=expected, found=found)


def read_params(folder: Path) -> Params:
    """The settings of a folder. InputError or UnsupportedError, of all that are wrong in one, for another model, settings of
    another kind than they can be, and unknown ones: what they change is not known either."""
    file = folder / PARAMS
    raw = read_json(safe_file(folder, PARAMS))
    if isinstance(raw.get("model"), dict) and "dim" not in raw:
        raw = raw["model"]
    found = {key: value for key, value in raw.items() if value is not None}
    maker: Maker = "Mistral" if "hidden_dim" in found else "Meta"
    params = Params(file, maker, found)
    inner = {f"{key}.{name}": value for key in INNER if isinstance(found.get(key), dict)
             for name, value in found[key].items() if value is not None}
    known = {**KEYS[maker], **{f"{key}.{name}": kind for key, names in INNER.items() for name, kind in names.items()}}
    for key, value in {**found, **inner}.items():
        if key in REFUSED and value not in (0, False, {}, []) and not (key.startswith("moe.") and _as_mixtral(key, value)):
            what, way = REFUSED[key]
            raise UnsupportedError(f"{what} ({key})", file=file, hint=way)
    problems: list[GgufxError] = []
    for key, value in {**found, **inner}.items():
        if key in REFUSED:
            continue
        if (kind := known.get(key)) is None:
            problems.append(UnsupportedError(f"{printable(key)}: a setting that ggufx does not know of {maker}'s models",
                                             file=file, found=printable(str(value)), hint=_HF))
        elif not _is(kind, value):
            problems.append(params.error(key, "wrong value", kind, printable(repr(value))))
    raise_all(problems)
    return params


def _as_mixtral(key: str, value: Any) -> bool:
    return {"moe.route_every_n": 1, "moe.routed_scale": 1, "moe.num_expert_groups": 1, "moe.num_expert_groups_per_tok": 1
            }.get(key) == value


def _is(kind: str, value: Any) -> bool:
    if kind in (COUNT, NUMBER):
        return (type(value) is int and 0 < value < 1 << 31) or (
            kind == NUMBER and type(value) is float and math.isfinite(value) and value > 0)
    return kind == ANY or isinstance(value, {FLAG: bool, TEXT: str, OBJECT: dict}[kind])
