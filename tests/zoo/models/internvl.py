"""InternVL around several language models, in both of its layouts."""

# fmt: off
from .multimodal import _QWEN2, _STATED, _shapes
from .rows import DECODER, THETA, Fault, Model

_QWEN3 = DECODER | {"model_type": "qwen3", "head_dim": 16, "rope_parameters": THETA}
_NOT = Fault("does not know the class")

ROWS = (
    Model("internvl-chat", "InternVLChatModel", "qwen2", {
        "model_type": "internvl_chat", "llm_config": _QWEN2 | _STATED | {"architectures": ["Qwen2ForCausalLM"], "head_dim": 16, "vocab_size": 430}},
        shapes=lambda config: _shapes("language_model.model.", "language_model.lm_head.weight", {
            "mlp1.0.weight": (32,), "vision_model.embeddings.class_embedding": (1, 1, 32)}, bias=True)(config | {"text_config": config["llm_config"]})),
    Model("internvl", "InternVLForConditionalGeneration", "qwen2", {
        "text_config": _QWEN3 | {"architectures": ["Qwen3ForCausalLM"]}, "downsample_ratio": 0.5, "tie_word_embeddings": False,
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": [16, 16],
                          "patch_size": [4, 4]}}),
)
