"""Models with the tower of Llama 4."""

# fmt: off
from ..models.rows import DECODER, THETA, Model
from . import HALF, Tower

ROWS = (
    Tower(Model("llama4-eye", "Llama4ForConditionalGeneration", "llama4", {
        "text_config": DECODER | {
            "num_hidden_layers": 1, "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 96, "interleave_moe_layer_step": 1,
            "num_local_experts": 4, "num_experts_per_tok": 1, "rope_parameters": THETA | {"rope_theta": 500000.0}},
        "vision_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 112,
                          "patch_size": 14, "vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64,
                          "pixel_shuffle_ratio": 0.5}}), HALF,
        fault="calls the second norm by a name that the runtime does not look for", drop=tuple(
            f"v.blk.{b}.{n}.{p}" for b in range(4) for n in ("ln2", "attn_post_norm") for p in ("weight", "bias"))),
)
