"""The tower of Llama 4: patches as a matrix, a class token, an MLP that follows a pixel shuffle.

Source: llama.cpp `conversion/llama4.py`; transformers `models/llama4`.
"""

from __future__ import annotations

from .common import *

BLOCK = "vision_model.model.layers.{v}."
LLAMA4 = towered(
    "llama4", ("Llama4ForConditionalGeneration",),
    hparams=(
        *seeing(epsilon="norm_eps", default=1e-5), projector_type("llama4"), GELU,
        H("vision.projector.scale_factor", "vision_config.pixel_shuffle_ratio", codec=INVERSE),
        Fixed("vision_config.hidden_act", "gelu", refuse=True),
        Note("the runtime gives the tokens of an image column by column, not row by row: the file is right", lambda c: True),
        Seen("vision_config.projector_input_dim", size("mm.model.mlp.1.weight")),
        Seen("vision_config.projector_output_dim", size("mm.model.mlp.2.weight")),
        Seen("vision_config.vision_output_dim", size("mm.model.fc.weight", 1)),
    ),
    tensors=(
        R("v.patch_embd.weight", "vision_model.patch_embedding.linear.weight", type=CONV),
        R("v.class_embd", "vision_model.class_embedding"),
        R("v.position_embd.weight", "vision_model.positional_embedding_vlm", type="F32"),
        *rows("v.blk.{v}.", BLOCK, {
            "ln1": "input_layernorm", **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, "attn_out": "self_attn.o_proj",
            "ln2": "post_attention_layernorm", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}),
        *rows("v.", "vision_model.", {"pre_ln": "layernorm_pre", "post_ln": "layernorm_post"}),
        *rows("mm.model.mlp.", "vision_model.vision_adapter.mlp.", {"1": "fc1", "2": "fc2"}),
        *rows("mm.model.", "multi_modal_projector.", {"fc": "linear_1"}),
    ),
    shapes={"v.patch_embd": "width 3*patch*patch", "v.position_embd": "grid_and_class width", "mm.model.mlp.1": "adapter inner",
            "mm.model.mlp.2": "projected adapter", "mm.model.fc": "text projected"},
    shown={"adapter": Shown("the runtime sees it in the tensors", ("vision_config.projector_input_dim",)),
           "projected": Shown("the runtime sees it in the tensors", ("vision_config.projector_output_dim",))},
    aliases=(("model.vision_model.", "vision_model."), ("model.multi_modal_projector.", "multi_modal_projector.")),
    example="meta-llama/Llama-4-Scout-17B-16E-Instruct",
)

SPECS = (LLAMA4,)
