"""Models with the tower of Llama 4."""

# fmt: off
from ..models.rows import DECODER, THETA, Model
from . import HALF, Tower, features, loaded, pixels


def _turned(folder, picture):
    """With rows of tokens for columns, which is the order of the runtime's."""
    import torch

    model = loaded(folder)
    with torch.inference_mode():
        made = features.rows(model.multi_modal_projector(model.get_image_features(pixel_values=pixels(folder, picture)).last_hidden_state[0]))
    return made.reshape(4, 4, -1).transpose(1, 0, 2).reshape(made.shape)


ROWS = (
    Tower(Model("llama4-eye", "Llama4ForConditionalGeneration", "llama4", {
        "text_config": DECODER | {
            "num_hidden_layers": 1, "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 96, "interleave_moe_layer_step": 1,
            "num_local_experts": 4, "num_experts_per_tok": 1, "rope_parameters": THETA | {"rope_theta": 500000.0}},
        "vision_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 112,
                          "patch_size": 14, "vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64,
                          "pixel_shuffle_ratio": 0.5}}), HALF,
        fault="calls the second norm by a name that the runtime does not look for", drop=tuple(
            f"v.blk.{b}.{n}.{p}" for b in range(4) for n in ("ln2", "attn_post_norm") for p in ("weight", "bias")),
        features=_turned, tolerance=6e-3),  # inputs of products rounded to float16 move transformers' own by 7.5e-3
)
