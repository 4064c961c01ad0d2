"""The tower of DeepSeek V4 Flash Vision: gated blocks, patches as a matrix, embeddings that mark where images begin and end.

Its settings stand at the top of config.json. Source: llama.cpp `conversion/deepseek.py`; the names in the published files.
"""

from __future__ import annotations

from .common import *

BLOCK = "vision.blocks.{v}."
HALF = [0.5, 0.5, 0.5]  # there is no processor file

DEEPSEEK4_VISION = towered(
    "deepseek_v4", ("DeepseekV4ForCausalLM",),
    hparams=(
        Const("has_vision_encoder", True, BOOL), H("vision.projection_dim", "hidden_size"),
        Computed("vision.image_size", lambda c: c["vision_patch_size"] * c["vision_downsample_ratio"] * 16),
        *(H(f"vision.{key}", f"vision_{hf}") for key, hf in {
            "patch_size": "patch_size", "embedding_length": "dim", "feed_forward_length": "inter_dim",
            "block_count": "n_layers", "attention.head_count": "n_heads"}.items()),
        *(H(f"vision.{key}", f"processor.{key}", F32, codec=COLOURS, default=HALF) for key in ("image_mean", "image_std")),
        projector_type("deepseek4v"), Const(f"vision.{NORM}", 1e-6, F32), SILU,
        H("vision.projector.scale_factor", "vision_downsample_ratio"), H("vision.image_min_pixels", "vision_min_pixels"),
        *(Fixed(f"vision_{key}", value, refuse=True) for key, value in {
            "max_n_token": 384, "max_wh_ratio": 8, "rope_theta": 10000.0}.items()),
    ),
    tensors=(
        R("v.patch_embd.weight", "vision.patch_embed.proj.weight", Reshape(
            ("vision.embedding_length", "3*vision.patch_size*vision.patch_size"),
            ("vision.embedding_length", 3, "vision.patch_size", "vision.patch_size")), type=CONV),
        R("v.patch_embd.bias", "vision.patch_embed.proj.bias", need=False),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "norm1", "attn_qkv": "attn.wqkv", "attn_out": "attn.wo", "ln2": "norm2", "ffn_down": "mlp.w2"}),
        R(("v.blk.{v}.ffn_gate.{p}", "v.blk.{v}.ffn_up.{p}"), BLOCK + "mlp.w1.{p}", Split((1, 1)), shape="2*inner width"),
        *rows("", "", {"v.post_ln": "vision.norm", "mm.1": "aligner.w1", "mm.2": "aligner.w2"}),
        R("v.image_newline", "image_newline"),
        *(R(f"v.token_embd.img_{end}", f"image_{end}") for end in ("start", "end", "pad")),
    ),
    shapes={"mm.1": "projected shuffled", "mm.2": "text projected",
            **lengths("v.token_embd.", {"img_start img_end img_pad": "text"})},
    fits=lambda c: bool(c.get("vision_n_layers")), text="", example="deepseek-ai/DeepSeek-V4-Flash-Vision-Exp",
)

SPECS = (DEEPSEEK4_VISION,)
