"""PLaMo 13B, 2 and 3."""

# fmt: off
from .rows import DECODER, OUTSIDE, RECURRENT, SMALL, Fault, Model, tensors

_P = "model.layers.layers.{b}."
_PLAMO = SMALL | {"model_type": "plamo", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 6, "n_shared_head": 3, "rms_norm_eps": 1e-6,
                  "tie_word_embeddings": False}
_SHAPES = tensors(OUTSIDE | {
    _P + "norm.weight": "hidden_size", _P + "self_attn.q_proj.weight": "hidden_size hidden_size", _P + "self_attn.k_proj.weight": "32 hidden_size",
    _P + "self_attn.v_proj.weight": "32 hidden_size", _P + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _P + "mlp.gate_proj.weight": "intermediate_size hidden_size", _P + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _P + "mlp.down_proj.weight": "hidden_size intermediate_size", _P + "self_attn.rotary_emb.inv_freq": "8"})

_M = _P + "mixer."
_EVERY = {name: shape for name, shape in OUTSIDE.items() if name != "lm_head.weight"} | {
    _P + f"{part}.weight": "hidden_size" for part in ("pre_mixer_norm", "post_mixer_norm", "pre_mlp_norm", "post_mlp_norm")} | {
    _P + "mlp.gate_up_proj.weight": "2*intermediate_size hidden_size", _P + "mlp.down_proj.weight": "hidden_size intermediate_size"}
_PLAMO2 = DECODER | {"model_type": "plamo2", "num_hidden_layers": 4, "hidden_size_per_head": 16, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_num_heads": 8,
                     "mamba_step": 2, "mamba_enabled": True, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
                     "attention_window_size": 2048, "full_attention_idx": None, "linear_type": "normal"}
_ATTENDING = {_M + "qkv_proj.weight": "8*16 hidden_size", _M + "q_weight": "4 16", _M + "k_weight": "2 16", _M + "o_proj.weight": "hidden_size 4*16"}
_RECURRING = {
    _M + "in_proj.weight": "2*8*16 hidden_size", _M + "conv1d.weight": "8*16 1 4", _M + "bcdt_proj.weight": "64+2*16 8*16", _M + "dt_proj.weight": "8 64",
    _M + "dt_bias": "8", _M + "A_log": "8", _M + "D": "8", _M + "dt_norm_weight": "64", _M + "B_norm_weight": "16", _M + "C_norm_weight": "16",
    _M + "out_proj.weight": "hidden_size 8*16"}
_PLAMO3 = DECODER | {"model_type": "plamo3", "head_dim": 32, "window_size": 8, "sliding_window_pattern": 2, "rope_theta": 150000, "rope_local_theta": 10000,
                     "rms_norm_eps": 1e-6, "tie_word_embeddings": True}
_SLIDING = tensors(_EVERY | {_M + "qkv_proj.weight": "8*32 hidden_size", _M + "q_norm.weight": "32", _M + "k_norm.weight": "32",
                             _M + "o_proj.weight": "hidden_size 4*32"})


def _alternating(config):
    return (tensors(_EVERY)(config) | tensors(_ATTENDING, b="range(1,4,2)")(config) | tensors(_RECURRING, b="range(0,4,2)")(config))


ROWS = (
    Model("plamo", "PlamoForCausalLM", "llama-spm", _PLAMO, shapes=_SHAPES, fault=Fault("takes the sizes of the 13B model for any")),
    Model("plamo2", "Plamo2ForCausalLM", "plamo2", _PLAMO2, shapes=_alternating, tolerance=RECURRENT, zero_norms=True, rounded=True,
          fault=Fault("says that the first block has no heads, upon which the runtime hangs",
                      keys=("plamo2.attention.head_count",))),
    Model("plamo3", "Plamo3ForCausalLM", "plamo2", _PLAMO3, shapes=_SLIDING, zero_norms=True),
)
