"""Chameleon: its vocabulary is wide enough for the tokens of images, which the runtime takes out of the logits."""

# fmt: off
from .rows import DECODER, THETA, Fault, Model

_CHAMELEON = DECODER | {
    "num_key_value_heads": 4,
    "rope_parameters": THETA, "vocab_size": 8300, "tie_word_embeddings": False, "swin_norm": False, "vocabulary_map": {"<image>": 420},
    "vq_config": {"embed_dim": 16, "num_embeddings": 16, "latent_channels": 32, "resolution": 16, "base_channels": 32,
                  "channel_multiplier": [1], "num_res_blocks": 1},
}
_NORMS = tuple(f"blk.{b}.attn_{x}_norm.{part}" for b in range(2) for x in "qk" for part in ("weight", "bias"))
ROWS = (
    Model("chameleon", "ChameleonForConditionalGeneration", "chameleon", _CHAMELEON, vocab_keys=(), embeds=True,
          lost="the image tokenizer is not in GGUF", fault=Fault(converter="takes the first head's norm for all", keys=_NORMS)),
)
