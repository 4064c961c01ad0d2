"""Classes of llama.cpp's converter that have no table, and why: what their checkpoints hold that is not carried."""

REFUSED: dict[str, tuple[str, ...]] = {
    "it holds a projector of sound alone, which --mmproj-only writes; the language model is the checkpoint that config.json "
    "names as text_model_id": ("UltravoxModel",),
}
WHY = {name: reason for reason, names in REFUSED.items() for name in names}
