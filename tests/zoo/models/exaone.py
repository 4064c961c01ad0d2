"""EXAONE 3 and 4."""

# fmt: off
from .rows import DECODER, THETA, V4, Fault, Model, tensors

_LLAMA3 = {"rope_type": "llama3", "rope_theta": 1000000.0, "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}
_T = "transformer.h.{b}."
_EXAONE = tensors({
    "transformer.wte.weight": "vocab_size hidden_size", "transformer.ln_f.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    _T + "ln_1.weight": "hidden_size", _T + "ln_2.weight": "hidden_size",
    _T + "attn.attention.q_proj.weight": "hidden_size hidden_size", _T + "attn.attention.out_proj.weight": "hidden_size hidden_size",
    **{_T + f"attn.attention.{name}_proj.weight": "num_key_value_heads*head_dim hidden_size" for name in "kv"},
    **{_T + f"mlp.c_fc_{n}.weight": "intermediate_size hidden_size" for n in range(2)},
    _T + "mlp.c_proj.weight": "hidden_size intermediate_size"}, b="num_layers")
_EPSILON = Fault("writes layer_norm_epsilon under a key that the runtime does not read: the file does not load", config={"rms_norm_eps": 1e-5},
                 keys=("exaone.attention.layer_norm_epsilon",))
_WINDOW = Fault(runtime="has a sliding window in models of 64 blocks only, and then no rotation where it does not slide")

ROWS = (
    Model("exaone", "ExaoneForCausalLM", "llama3", {
        "model_type": "exaone", "hidden_size": 64, "intermediate_size": 96, "num_layers": 2, "num_attention_heads": 4, "head_dim": 16,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "layer_norm_epsilon": 1e-5, "activation_function": "silu",
        "rope_theta": 1000000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}, shapes=_EXAONE, fault=_EPSILON),
    Model("exaone4", "Exaone4ForCausalLM", "llama3", DECODER | {
        "sliding_window": None, "layer_types": ["full_attention"] * 2, "tie_word_embeddings": True, "rope_parameters": _LLAMA3}),
    Model("exaone4-window", "Exaone4ForCausalLM", "llama3", DECODER | {
        "num_hidden_layers": 4, "sliding_window": 8, "sliding_window_pattern": 4, "rope_parameters": THETA | {"rope_theta": 1e6}},
          "float16", v4=V4(drop=("layer_types",), fault=_WINDOW), fault=_WINDOW),
)
