"""MPT: as transformers has it, and with what only the repository's own class has."""

# fmt: off
from .rows import GELU, Fault, Model, tensors

_CLASS = Fault("knows the class under the repository's name, leaves out the file type", config={"architectures": ["MPTForCausalLM"]},
               keys=("general.file_type",))
_T = "transformer.blocks.{b}."
_HUB = {"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 256, "expansion_ratio": 4, "no_bias": False,
        "learned_pos_emb": True, "tie_word_embeddings": True,
        "attn_config": {"alibi": False, "alibi_bias_max": 8, "clip_qkv": 6.0, "kv_n_heads": 2, "qk_ln": False, "prefix_lm": False}}
_NAMES = {
    "attn.Wqkv": "2*d_model d_model", "attn.out_proj": "d_model d_model", "ffn.up_proj": "4*d_model d_model", "ffn.down_proj": "d_model 4*d_model",
    "norm_1": "d_model", "norm_2": "d_model"}
_SHAPES = tensors({
    "transformer.wte.weight": "vocab_size d_model", "transformer.wpe.weight": "max_seq_len d_model", "transformer.norm_f.weight": "d_model",
    "transformer.norm_f.bias": "d_model", **{f"{_T}{name}.weight": shape for name, shape in _NAMES.items()},
    **{f"{_T}{name}.bias": shape.split()[0] for name, shape in _NAMES.items()}}, b="n_layers")

ROWS = (
    Model("mpt", "MptForCausalLM", "mpt", {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}, tolerance=GELU, fault=_CLASS),
    Model("mpt-hub", "MPTForCausalLM", "mpt", _HUB, shapes=_SHAPES, tolerance=GELU,
          fault=Fault("leaves out the file type", keys=("general.file_type",))),
)
