"""Chameleon: its vocabulary is wide enough for the tokens of images, which the runtime takes out of the logits."""

# fmt: off
from .rows import DECODER, THETA, Fault, Model, tensors

_CHAMELEON = DECODER | {
    "num_key_value_heads": 4,
    "rope_parameters": THETA, "vocab_size": 8300, "tie_word_embeddings": False, "swin_norm": False, "vocabulary_map": {"<image>": 420},
    "vq_config": {"embed_dim": 16, "num_embeddings": 16, "latent_channels": 32, "resolution": 16, "base_channels": 32,
                  "channel_multiplier": [1], "num_res_blocks": 1},
}
_NORMS = tuple(f"blk.{b}.attn_{x}_norm.{part}" for b in range(2) for x in "qk" for part in ("weight", "bias"))
_L = "model.layers.{b}."
_OLD = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    "model.vqmodel.quant_conv.bias": "16", _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
    **{_L + f"self_attn.{x}_proj.weight": "hidden_size hidden_size" for x in "qkvo"},
    **{_L + f"self_attn.{x}_norm.{part}": "num_attention_heads 16" for x in "qk" for part in ("weight", "bias")},
    **{_L + f"mlp.{x}_proj.weight": "intermediate_size hidden_size" for x in ("gate", "up")},
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
})

ROWS = (
    Model("chameleon", "ChameleonForConditionalGeneration", "chameleon", _CHAMELEON, vocab_keys=(), embeds=True,
          lost="the image tokenizer is not in GGUF", fault=Fault(converter="takes the first head's norm for all", keys=_NORMS)),
    Model("chameleon-old", "ChameleonForCausalLM", "chameleon", _CHAMELEON | {
        "model_type": "chameleon", "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16"}, vocab_keys=(), embeds=True,
          shapes=_OLD, fault=Fault(converter="takes the first head's norm for all", keys=_NORMS)),
)
