"""Qwen2, Qwen3 and Qwen3-MoE."""

# fmt: off
from .rows import DECODER, LOST_WINDOW, THETA, V4, YARN, Fault, Model

_WINDOW = Fault(runtime="has no sliding window for this architecture, and the converter drops it")

ROWS = (
    Model("qwen2", "Qwen2ForCausalLM", "qwen2", DECODER | {"tie_word_embeddings": True}, v4=V4(drop=("layer_types",))),
    Model("qwen2-window", "Qwen2ForCausalLM", "qwen2", DECODER | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
          "float16", v4=V4(drop=("layer_types",), fault=_WINDOW), fault=_WINDOW, lost=LOST_WINDOW),
    Model("qwen3", "Qwen3ForCausalLM", "qwen2", DECODER | {"head_dim": 32, "rope_parameters": THETA | {"rope_theta": 1e6}},
          v4=V4(drop=("layer_types",))),
    Model("qwen3-yarn", "Qwen3ForCausalLM", "qwen2", DECODER | {"head_dim": 32, "rope_parameters": YARN, "tie_word_embeddings": True},
          "float32", v4=V4(drop=("layer_types",))),
    Model("qwen3moe", "Qwen3MoeForCausalLM", "qwen2", DECODER | {
        "head_dim": 32, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}, v4=V4()),
    Model("qwen3moe-fused", "Qwen3MoeForCausalLM", "qwen2", DECODER | {
        "head_dim": 32, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}, layout="fused"),
)
