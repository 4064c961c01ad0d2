"""Gemma 4's assistants."""

# fmt: off
import numpy as np

from .rows import DECODER, GELU, THETA, TYPE, Fault, Model

# transformers 5.23 cannot make one: it wants layers that the target has.
_ASSISTANT = {"model_type": "gemma4_assistant", "text_config": DECODER | {
    "model_type": "gemma4_text", "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "num_hidden_layers": 4,
    "sliding_window": 8, "layer_types": ["sliding_attention"] * 3 + ["full_attention"], "per_layer_config": {"3": {"head_dim": 64}},
    "rope_parameters": {"sliding_attention": THETA,
                        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}},
    "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "num_kv_shared_layers": 4, "tie_word_embeddings": True,
    "attention_k_eq_v": False, "enable_moe_block": False, "use_double_wide_mlp": False, "final_logit_softcapping": None,
    "use_bidirectional_attention": None, "attention_bias": False, "vocab_size": 562},
    "backbone_hidden_size": 128, "use_ordered_embeddings": True, "num_centroids": 2, "centroid_intermediate_top_k": 1,
    "tie_word_embeddings": True}


def _assistant(config):
    """Blocks with queries alone: the keys and values are the target's."""
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], 64), "model.norm.weight": (64,), "pre_projection.weight": (64, 256),
              "post_projection.weight": (128, 64), "masked_embedding.centroids.weight": (2, 64),
              "masked_embedding.token_ordering": (config["vocab_size"],)}
    for b in range(4):
        length = 64 if b == 3 else 32
        shapes |= {f"model.layers.{b}.{name}": shape for name, shape in {
            "self_attn.q_proj.weight": (4 * length, 64), "self_attn.q_norm.weight": (length,), "self_attn.o_proj.weight": (64, 4 * length),
            "mlp.gate_proj.weight": (96, 64), "mlp.up_proj.weight": (96, 64), "mlp.down_proj.weight": (64, 96), "layer_scalar": (1,),
            **{f"{norm}_layernorm.weight": (64,) for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward")}}.items()}
    return shapes



_UNIFIED = _ASSISTANT | {"model_type": "gemma4_unified_assistant", "use_ordered_embeddings": False,
                         "text_config": _ASSISTANT["text_config"] | {"model_type": "gemma4_unified_text", "moe_intermediate_size": None}}
_ORDER = {"masked_embedding.token_ordering": lambda n: np.arange(n)[::-1].copy()}
_ALONE = Fault(runtime="computes with the keys and values of a target beside it", keys=(TYPE,))

ROWS = (
    Model("gemma4-assistant", "Gemma4AssistantForCausalLM", "gemma4", _ASSISTANT, shapes=_assistant, values=_ORDER, tolerance=GELU,
          fault=_ALONE),
    Model("gemma4-unified-assistant", "Gemma4UnifiedAssistantForCausalLM", "gemma4", _UNIFIED,
          shapes=lambda config: {name: shape for name, shape in _assistant(config).items() if "masked" not in name}, tolerance=GELU,
          fault=_ALONE),
)
