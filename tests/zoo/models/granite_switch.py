"""Granite Switch, with two adapters."""

# fmt: off
import numpy as np

from .rows import DECODER, OUTSIDE, L, Model, tensors

_A, _S = L + "self_attn.", L + "shared_mlp."
_LINEAR = {  # -> slices, rows of each, columns
    _A + "qkv_proj": (("64", "32", "32"), "hidden_size"), _A + "o_proj": (("hidden_size",), "64"),
    _S + "input_linear": (("96", "96"), "hidden_size"), _S + "output_linear": (("hidden_size",), "96")}
_NAMES = OUTSIDE | {L + "input_layernorm.weight": "hidden_size", L + "post_attention_layernorm.weight": "hidden_size",
                    "model.adapter_token_ids": "num_adapters", "model.switch.control_to_substitute_lut": "vocab_size"}
for _name, (_slices, _inner) in _LINEAR.items():
    _NAMES |= {_name + ".base_layer.weight": f"{'+'.join(_slices)} {_inner}"}
    for _i, _rows in enumerate(_slices):
        _end = f"_slices.{_i}" if len(_slices) > 1 else ""
        _NAMES |= {f"{_name}.lora_A{_end}": f"num_adapters 1 max_lora_rank {_inner}", f"{_name}.lora_B{_end}": f"num_adapters 1 {_rows} max_lora_rank"}

ROWS = (
    Model("granite-switch", "GraniteSwitchForCausalLM", "llama3", DECODER | {
        "model_type": "granite_switch", "num_hidden_layers": 3, "shared_intermediate_size": 96, "attention_multiplier": 0.125,
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "bfloat16", "num_local_experts": 0, "num_experts_per_tok": 0,
        "num_adapters": 2, "max_lora_rank": 8, "adapter_ranks": [8, 4], "adapter_names": ["one", "two"], "adapter_token_ids": [300, 301],
        "adapter_substitute_token_ids": [5, 6], "control_token_gain": 15.0}, shapes=tensors({k: v for k, v in _NAMES.items() if k != "lm_head.weight"}, b="2"),
          values={"model.adapter_token_ids": lambda n: np.arange(300, 300 + n), "model.switch.control_to_substitute_lut": lambda n: np.arange(n) - 1},
          unadapted="the class has adapters of its own, and peft gives its layers none"),
)
