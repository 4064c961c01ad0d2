"""CodeShell."""

# fmt: off
from .rows import GELU, Model, tensors

_T = "transformer.h.{b}."
_CODESHELL = {"model_type": "codeshell", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 256, "n_positions": 256, "num_query_groups": 2,
              "group_query_attention": True, "layer_norm_epsilon": 1e-5, "position_embedding_type": "rope", "scale_attn_weights": True,
              "activation_function": "gelu_pytorch_tanh", "tie_word_embeddings": False}
_NAMES = {_T + "ln_1": "n_embd", _T + "ln_2": "n_embd", _T + "attn.c_attn": "2*n_embd n_embd", _T + "attn.c_proj": "n_embd n_embd",
          _T + "mlp.c_fc": "n_inner n_embd", _T + "mlp.c_proj": "n_embd n_inner", "transformer.ln_f": "n_embd"}
_SHAPES = tensors({
    "transformer.wte.weight": "vocab_size n_embd", "lm_head.weight": "vocab_size n_embd",
    **{name + ".weight": shape for name, shape in _NAMES.items()}, **{name + ".bias": shape.split()[0] for name, shape in _NAMES.items()},
    _T + "attn.rotary_emb.inv_freq": "8"}, b="n_layer")

ROWS = (Model("codeshell", "CodeShellForCausalLM", "codeshell", _CODESHELL, shapes=_SHAPES, tolerance=GELU),)
