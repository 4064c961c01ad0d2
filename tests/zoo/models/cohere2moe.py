"""Cohere 2's mixture of experts: sigmoid with shared experts, softmax without."""

# fmt: off
from .rows import DECODER, Fault, Model, layer_like

_MOE = DECODER | {"num_hidden_layers": 4, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8, "intermediate_size": 32}

ROWS = (
    Model("cohere2moe", "Cohere2MoeForCausalLM", "llama3", _MOE | {
        "first_k_dense_replace": 1, "prefix_dense_intermediate_size": 96, "num_shared_experts": 2, "expert_selection_fn": "sigmoid"}),
    Model("cohere2moe-softmax", "Cohere2MoeForCausalLM", "llama3", _MOE | {"norm_topk_prob": False}, fault=Fault(keys=(
        "cohere2moe.expert_weights_norm", "cohere2moe.feed_forward_length"))),
    Model("cohere2moe-mtp", "Cohere2MoeForCausalLM", "llama3", _MOE | {
        "first_k_dense_replace": 1, "prefix_dense_intermediate_size": 96, "num_shared_experts": 2, "expert_selection_fn": "sigmoid"},
          add={"num_nextn_predict_layers": 1}, extra=layer_like(
              "model.layers.3.", "model.layers.4.", ("model.layers.4.eh_proj.weight", (64, 128)), ("model.layers.4.enorm.weight", (64,)),
              ("model.layers.4.hnorm.weight", (64,)), ("model.layers.4.shared_head.norm.weight", (64,)))),
)
