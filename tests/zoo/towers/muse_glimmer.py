"""Models with the tower of Muse Glimmer."""

# fmt: off
from ..models.muse_glimmer import _MUSE
from . import HALF, Tower, blocks, both, loaded, pixels, seeing

_EYE = {"model_type": "muse_glimmer_vision", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4, "patch_size": 14,
        "pos_emb_height": 8, "pos_emb_width": 8, "patch_temporal": 2, "merge_size": 2, "layer_norm_eps": 1e-5, "max_position_embeddings": 64}
_W, _V = (64, 64), "model.vision_tower."
_TOWER = blocks(_V + "layers.{v}.", {
    "norm1": (64,), "norm2": (64,), **{f"attn.{x}": _W for x in ("q_proj", "k_proj", "v_proj", "proj")}, "mlp.fc1": (96, 64), "mlp.fc2": (64, 96)}, count=5) | both(
    _V, {"ln_pre": (64,), "ln_post": (64,)}) | {
    _V + "patch_embedder.patch_embedding.weight": (64, 1176), _V + "patch_embedder.position_embedding_table.weight": (64, 64),
    "model.vision_adapter.fc1.weight": (96, 256), "model.vision_adapter.fc2.weight": (96, 96), "model.vision_projection.weight": (64, 96)}


def _features(folder, picture):
    """In front of the norm without weights, which the runtime's language model has for all embeddings."""
    import torch

    height, width = (side // 14 for side in picture.shape[:2])
    x = pixels(folder, picture)[0].reshape(3, height, 14, width, 14).permute(1, 3, 0, 2, 4).reshape(height * width, 1, -1)
    model = loaded(folder).model
    with torch.inference_mode():
        seen = model.vision_tower(x.expand(-1, 2, -1).reshape(height * width, -1), grid_thw=torch.tensor([[1, height, width]])).last_hidden_state
        return model.vision_projection(model.vision_adapter(seen)).numpy()


ROWS = (
    Tower(seeing("muse-eye", "muse", {"text_config": _MUSE, "vision_config": _EYE, "out_hidden_size": 256, "projector_hidden_size": 96}, _TOWER,
                 "model.vision_"), HALF, cropped=(_V + "patch_embedder.patch_embedding.",), size=(112, 112), features=_features),
)
