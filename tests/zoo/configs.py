"""config.json as transformers 4 wrote it, from the one that transformers 5 writes."""

from typing import Any

from .models import V4


def as_v4(config: dict[str, Any], old: V4) -> dict[str, Any]:
    """The same settings under the names of version 4, nested configurations too.

    `rope_parameters` becomes `rope_theta` and `rope_scaling` (Gemma3: also `rope_local_base_freq`), `dtype` becomes
    `torch_dtype`, and keys that version 4 did not know are taken out.
    """
    out = _flat(config, old)
    if "dtype" in config:
        out["torch_dtype"] = out.pop("dtype")
    if "text_config" in out:
        out["text_config"] = _flat(out["text_config"], old)
        for part in ("text_config", "vision_config"):
            if "dtype" in out.get(part, {}):
                out[part]["torch_dtype"] = out[part].pop("dtype")
    target = out.get("text_config", out)
    target.update(old.add)
    for key in old.drop:
        target.pop(key, None)
    return out


def _flat(config: dict[str, Any], old: V4) -> dict[str, Any]:
    out = dict(config)
    rope = out.pop("rope_parameters", None)
    if not rope:
        return out
    if "compress" in rope:
        rope = {**rope["compress"], "rope_theta": rope["main"]["rope_theta"]}
    if "full_attention" in rope:
        out["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    scaling = dict(rope)
    out["rope_theta"] = scaling.pop("rope_theta")
    if "partial_rotary_factor" in scaling:
        out["partial_rotary_factor"] = scaling.pop("partial_rotary_factor")
    kind = scaling.pop("rope_type", "default")
    if kind in ("longrope",):
        # version 4 kept the original context beside max_position_embeddings
        scaling.pop("original_max_position_embeddings", None)
        scaling.pop("factor", None)
    out["rope_scaling"] = None if kind == "default" else {old.rope_key: kind, **scaling}
    return out
