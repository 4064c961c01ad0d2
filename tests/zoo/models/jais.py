"""Jais and Jais 2."""

# fmt: off
from .rows import DECODER, Fault, Model, tensors

_T = "transformer.h.{b}."
_JAIS = {"model_type": "jais", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "n_positions": 256, "layer_norm_epsilon": 1e-5,
         "activation_function": "swiglu", "position_embedding_type": "alibi", "mup_embeddings_scale": 9.1705785388303, "mup_output_alpha": 1.09518349,
         "mup_width_scale": 0.16666666666666666, "mup_scale_qk_dot_by_d": True, "tie_word_embeddings": False}
_NAMES = {_T + "ln_1": "n_embd", _T + "ln_2": "n_embd", _T + "attn.c_attn": "n_embd 3*n_embd", _T + "attn.c_proj": "n_embd n_embd",
          _T + "mlp.c_fc": "n_embd n_inner", _T + "mlp.c_fc2": "n_embd n_inner", _T + "mlp.c_proj": "n_inner n_embd", "transformer.ln_f": "n_embd"}
_SHAPES = tensors({
    "transformer.wte.weight": "vocab_size n_embd", "lm_head.weight": "vocab_size n_embd", "transformer.relative_pe.slopes": "n_head 1 1",
    **{name + ".weight": shape for name, shape in _NAMES.items()}, **{name + ".bias": shape.split()[-1] for name, shape in _NAMES.items()},
    }, b="n_layer")

ROWS = (
    Model("jais", "JAISLMHeadModel", "jais", _JAIS, "float32", shapes=_SHAPES, ranges={"slopes": (0.25, 0.25)}, folded=True, lost="scales are folded into the weights",
          fault=Fault("reads the slopes before they are loaded", options=("--no-lazy",))),
    Model("jais2", "Jais2ForCausalLM", "gpt2", DECODER),
)
