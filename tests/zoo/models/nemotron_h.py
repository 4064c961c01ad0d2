"""Nemotron-H, Nemotron 3 with its multi-token prediction, Nemotron Puzzle."""

# fmt: off
from .rows import RECURRENT, V4, Fault, Model, Shapes

_H = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256,
      "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 16, "vocab_size": 432, "time_step_min": 1e-9}
_DENSE = _H | {"layers_block_type": ["linear_attention", "mlp", "full_attention", "mlp", "linear_attention"]}
_MOE = _H | {"layers_block_type": ["linear_attention", "moe", "full_attention"], "n_routed_experts": 4, "moe_intermediate_size": 48,
             "moe_shared_expert_intermediate_size": 96, "moe_latent_size": 32, "num_nextn_predict_layers": 1}
_EXPERTS = ("num_experts_per_tok", "n_routed_experts", "n_shared_experts", "moe_intermediate_size", "moe_shared_expert_intermediate_size",
            "moe_latent_size", "n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "num_nextn_predict_layers", "layers_block_type")


def _prediction(shapes: Shapes) -> Shapes:
    out = {"mtp.layers.0.enorm.weight": (64,), "mtp.layers.0.hnorm.weight": (64,), "mtp.layers.0.eh_proj.weight": (64, 128),
           "mtp.layers.1.final_layernorm.weight": (64,)}
    for layer, like in (("0", "backbone.layers.2."), ("1", "backbone.layers.1.")):
        out |= {f"mtp.layers.{layer}.{name.removeprefix(like)}": shape for name, shape in shapes.items() if name.startswith(like)}
    return out


_MIXERS = {
    "mamba": {"in_proj.weight": (200, 64), "conv1d.weight": (128, 1, 4), "conv1d.bias": (128,), "dt_bias": (8,), "A_log": (8,), "D": (8,),
              "norm.weight": (64,), "out_proj.weight": (64, 64)},
    "attention": {"q_proj.weight": (64, 64), "k_proj.weight": (32, 64), "v_proj.weight": (32, 64), "o_proj.weight": (64, 64)},
    "mlp": {"up_proj.weight": (96, 64), "down_proj.weight": (64, 96)}}


def _puzzle(config: dict) -> Shapes:
    """Of the model without multi-token prediction, its experts of another size in the last block."""
    out = {"model.embeddings.weight": (432, 64), "model.norm_f.weight": (64,), "lm_head.weight": (432, 64), "mtp.0.norm.weight": (64,)}
    for b, block in enumerate(config["block_configs"]):
        m, rows = f"model.layers.{b}.mixer.", block.get("moe_intermediate_size")
        out |= {f"model.layers.{b}.norm.weight": (64,)}
        if block["block_type"] in _MIXERS:
            out |= {m + name: shape for name, shape in _MIXERS[block["block_type"]].items()}
        else:
            out |= {m + "gate.weight": (4, 64), m + "gate.e_score_correction_bias": (4,), m + "fc1_latent_proj.weight": (32, 64),
                    m + "fc2_latent_proj.weight": (64, 32), m + "shared_experts.up_proj.weight": (96, 64),
                    m + "shared_experts.down_proj.weight": (64, 96)}
            out |= {f"{m}experts.{e}.up_proj.weight": (rows, 32) for e in range(4)}
            out |= {f"{m}experts.{e}.down_proj.weight": (32, rows) for e in range(4)}
    return out


_PUZZLE = _H | {"model_type": "nemotron_h_puzzle", "n_routed_experts": 4, "n_shared_experts": 1, "moe_shared_expert_intermediate_size": 96,
                "moe_latent_size": 32, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_group": 1, "topk_group": 1, "conv_kernel": 4,
                "layer_norm_epsilon": 1e-5, "tie_word_embeddings": False, "block_configs": [
                    {"block_type": "mamba"}, {"block_type": "moe", "moe_intermediate_size": 48, "num_experts_per_tok": 2},
                    {"block_type": "attention"}, {"block_type": "moe", "moe_intermediate_size": 32, "num_experts_per_tok": 3}]}



def _vl(config: dict) -> Shapes:
    """Of a model that sees: its language model without experts."""
    out = {"backbone.embeddings.weight": (432, 64), "backbone.norm_f.weight": (64,), "lm_head.weight": (432, 64)}
    for b, kind in enumerate(config["llm_config"]["hybrid_override_pattern"]):
        mixer = _MIXERS[{"M": "mamba", "*": "attention", "-": "mlp"}[kind]]
        out |= {f"backbone.layers.{b}.norm.weight": (64,), **{f"backbone.layers.{b}.mixer.{name}": shape for name, shape in mixer.items()}}
    return {f"language_model.{name}": shape for name, shape in out.items()} | {"mlp1.0.weight": (64,)}


ROWS = (
    Model("nemotron-h", "NemotronHForCausalLM", "gpt2", _DENSE, vocab_keys=(), tolerance=RECURRENT, rounded=True,
          lost="the least time step is not in GGUF",
          v4=V4(drop=_EXPERTS, add={"hybrid_override_pattern": "M-*-M", "num_hidden_layers": 5, "rms_norm_eps": 1e-5},
                fault=Fault("fills in a mixture of experts from transformers' class", config={"model_type": "nemotron-h"})),
          fault=Fault("takes a dense model for a mixture of experts")),
    Model("nemotron-h-moe", "NemotronHForCausalLM", "gpt2", _MOE, vocab_keys=(), tolerance=RECURRENT, rounded=True, extra=_prediction,
          lost="the least time step is not in GGUF",
          fault=Fault("stores the router of the prediction as any weight", keys=("blk.3.ffn_gate_inp.weight",))),
    Model("nemotron-vl", "NemotronH_Nano_VL_V2", "gpt2", {
        "model_type": "NemotronH_Nano_VL_V2", "vision_config": {"patch_size": 16}, "llm_config": _H | {
            "model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"], "hybrid_override_pattern": "M-*-M", "num_hidden_layers": 5,
            "layer_norm_epsilon": 1e-5, "conv_kernel": 4, "tie_word_embeddings": False, "rms_norm_eps": 1e-5}}, vocab_keys=(), shapes=_vl, rounded=True),
    Model("nemotron-puzzle", "NemotronHPuzzleForCausalLM", "gpt2", _PUZZLE, vocab_keys=(), shapes=_puzzle, rounded=True),
)
