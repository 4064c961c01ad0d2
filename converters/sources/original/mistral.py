"""Mistral's own layout: which class a folder holds, and its config.json.

Sources: transformers' `convert_mistral_weights_to_hf.py`, llama.cpp's `conversion/mistral.py`, mistral-inference
`transformer.py` for the rotary base that is left out.
"""

from __future__ import annotations

from typing import Any

from ...errors import InputError, UnsupportedError
from ..stated import Stated
from .params import Params


def config_of(params: Params, stated: Stated, notes: list[str], whole: bool) -> dict[str, Any]:
    """config.json, without what the tensors tell. InputError where nothing tells the context and it shall be `whole`."""
    heads, window = params.need("n_heads"), _window(params)
    config: dict[str, Any] = {
        "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
        "hidden_size": params.need("dim"), "intermediate_size": params.need("hidden_dim"),
        "num_hidden_layers": params.need("n_layers"), "num_attention_heads": heads,
        "num_key_value_heads": params.get("n_kv_heads", heads),
        "head_dim": params.get("head_dim", params.need("dim") // heads), "rms_norm_eps": params.need("norm_eps"),
    }
    if (context := _context(params, stated)) is not None:
        config["max_position_embeddings"] = context
    elif whole:
        raise InputError("does not say how long a context the model was made for", file=params.file,
                         hint="State it with --context-length; the model card has the number.")
    theta = params.get("rope_theta")
    if theta is None:
        theta = 1e6 if window is None else 1e4
        notes.append(f"params.json has no rope_theta: {theta:g}, as in Mistral's own code")
    if (activation := params.get("activation", "silu")) != "silu":
        raise UnsupportedError("activation has no table", file=params.file, expected="silu", found=activation)
    if params.get("use_biases") or params.get("causal", True) is False:
        raise UnsupportedError("use_biases and causal: false have no table", file=params.file)
    if "llama_4_scaling" in params.found or "yarn" in params.found:
        if "moe" in params.found:
            raise UnsupportedError("moe with yarn or llama_4_scaling has no table", file=params.file)
        return {"architectures": ["Ministral3ForCausalLM"], "model_type": "ministral3", **config,
                "rope_parameters": _yarn(params, theta)}
    config["rope_theta"] = float(theta)
    config["sliding_window"] = window
    if "moe" in params.found:
        if config["head_dim"] * heads == config["hidden_size"]:
            del config["head_dim"]  # as published
        return {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", **config,
                "num_local_experts": params.inner("moe", "num_experts"),
                "num_experts_per_tok": params.inner("moe", "num_experts_per_tok")}
    return {"architectures": ["MistralForCausalLM"], "model_type": "mistral", **config}


def _context(params: Params, stated: Stated) -> int | None:
    """Tokens that the model was made for."""
    yarn = params.get("yarn", {})
    found = stated.context_length or params.get("max_position_embeddings") or params.get("max_seq_len")
    if found is None and "yarn" in params.found:
        found = int(params.inner("yarn", "factor") * yarn["original_max_position_embeddings"])
    return found if type(found) is int and found > 0 else None


def _window(params: Params) -> int | None:
    """Tokens that a layer looks back; Mistral writes it as a text, too."""
    found = params.get("sliding_window")
    if isinstance(found, str) and found.isdecimal():
        found = int(found)
    if found in (None, 0):
        return None
    if type(found) is not int or not 0 < found < 1 << 31:
        raise params.error("sliding_window", "no one window for all layers", "a number of tokens", repr(found))
    return found


def _yarn(params: Params, theta: float) -> dict[str, Any]:
    """Ministral 3's rotary settings. Only what is published is known: both objects, and no scale of attention."""
    for key in ("yarn", "llama_4_scaling"):
        if key not in params.found:
            raise UnsupportedError(f"yarn and llama_4_scaling come together in what is published; {key} is missing",
                                   file=params.file)
    yarn, scaling = ({name: params.inner(key, name) for name in names} for key, names in (
        ("yarn", ("factor", "alpha", "beta", "original_max_position_embeddings", "apply_scale")),
        ("llama_4_scaling", ("beta", "original_max_position_embeddings"))))
    if yarn["apply_scale"]:
        raise UnsupportedError("yarn.apply_scale has no table", file=params.file, expected="false", found="true")
    if yarn["original_max_position_embeddings"] != scaling["original_max_position_embeddings"]:
        raise UnsupportedError("yarn and llama_4_scaling begin at different lengths", file=params.file)
    return {"rope_type": "yarn", "rope_theta": float(theta), "factor": float(yarn["factor"]), "beta_fast": float(yarn["beta"]),
            "beta_slow": float(yarn["alpha"]), "original_max_position_embeddings": yarn["original_max_position_embeddings"],
            "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": float(scaling["beta"])}
