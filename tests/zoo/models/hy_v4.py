"""HY 4, one block with an indexer of its own and one that shares it."""

# fmt: off
import re

from .rows import SMALL, THETA, V4, Fault, Model


def _published(name: str) -> str:
    name = re.sub(r"hc_pre\.(hc_head|hc_attn_layer|hc_mlp_layer)\.", r"\1.hc_pre.", name).replace("hc_head.hc_pre.", "hc_head.")
    return re.sub(r"(mlp|shared_experts)\.linear_gate", r"\1.gate_proj", name)


_TURNS = "turns neighbours of the rotary part, transformers its halves"
_HUB = V4(add={"first_k_dense_replace": 1, "num_nextn_predict_layers": 0}, rename=_published, fault=Fault(runtime=_TURNS))
_FAULT = Fault(runtime=_TURNS, converter="does not know names that transformers 5 gives by mistake (hc_pre, linear_gate)")
ROWS = (
    Model("hy4", "HYV4ForCausalLM", "gpt2", SMALL | {
        "num_hidden_layers": 3, "num_attention_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "routed_scaling_factor": 2.0,
        "index_topk": 8, "index_head_dim": 16, "index_n_heads": 2, "indexer_types": ["full", "shared", "full"], "hc_mult": 2,
        "rope_parameters": THETA},
          float32=("e_score_correction_bias", "_fn", "_base", "_scale", "sink_param", "weights_proj.weight", "k_norm.weight", "k_norm.bias"),
          v4=_HUB, fault=_FAULT),
)
