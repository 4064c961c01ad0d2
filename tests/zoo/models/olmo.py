"""OLMo 1 to 3 and OLMoE."""

# fmt: off
from .rows import DECODER, THETA, V4, YARN, Fault, Model

_BASE = {"rope_type": "default", "rope_theta": 500000.0}
_SLIDING = DECODER | {"num_hidden_layers": 4, "sliding_window": 8}
_MOE = DECODER | {"num_key_value_heads": 4, "num_experts": 4, "num_experts_per_tok": 2}

ROWS = (
    Model("olmo", "OlmoForCausalLM", "qwen2", DECODER | {"clip_qkv": 0.5}, v4=V4()),
    Model("olmo-tied", "OlmoForCausalLM", "qwen2", DECODER | {"tie_word_embeddings": True}, "float16"),
    Model("olmo2", "Olmo2ForCausalLM", "qwen2", DECODER, v4=V4()),
    Model("olmo3", "Olmo3ForCausalLM", "qwen2", _SLIDING | {"rope_parameters": {"full_attention": _BASE, "sliding_attention": _BASE}}),
    Model("olmo3-yarn", "Olmo3ForCausalLM", "qwen2", _SLIDING | {
        "rope_parameters": {"full_attention": YARN, "sliding_attention": THETA}}, "float16"),
    Model("olmoe", "OlmoeForCausalLM", "qwen2", _MOE, v4=V4()),
    Model("olmoe-fused", "OlmoeForCausalLM", "qwen2", _MOE, "float16", layout="fused",
          fault=Fault("counts three tensors per expert: takes none of the fused experts")),
)
