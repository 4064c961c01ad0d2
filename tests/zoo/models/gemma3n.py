"""Gemma 3n."""

# fmt: off
from .rows import DECODER, GELU, THETA, TOKENS, TYPE, Fault, Model, tensors

_GEMMA3N = DECODER | {
    "head_dim": 32, "num_hidden_layers": 5, "sliding_window": 8, "hidden_size_per_layer_input": 256, "num_kv_shared_layers": 0, "laurel_rank": 64,
    "activation_sparsity_pattern": [0.95] * 5, "rope_parameters": {
        "sliding_attention": THETA, "full_attention": THETA | {"rope_theta": 1000000.0}}}

_FAULT = Fault(runtime="measures how activations spread over one value less than transformers, which tells in a narrow model",
               keys=("gemma3n.activation_sparsity_scale", TYPE, TOKENS))  # the first is of no use to the runtime

_T, _B = "model.language_model.", "model.language_model.layers.{b}."
_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
          "post_per_layer_input_norm", "altup.router_norm", "laurel.post_laurel_norm")
_SHAPES = tensors({
    f"{_T}embed_tokens.weight": "vocab_size hidden_size", f"{_T}norm.weight": "hidden_size",
    f"{_T}embed_tokens_per_layer.weight": "vocab_size_per_layer_input num_hidden_layers*hidden_size_per_layer_input",
    f"{_T}per_layer_model_projection.weight": "num_hidden_layers*hidden_size_per_layer_input hidden_size",
    f"{_T}per_layer_projection_norm.weight": "hidden_size_per_layer_input",
    **{f"{_T}altup{name}projections.{{e}}.weight": "hidden_size hidden_size" for name in ("_", "_unembed_")},
    **{f"{_B}{name}.weight": "hidden_size" for name in _NORMS},
    f"{_B}altup.correct_output_scale": "hidden_size", f"{_B}altup.correction_coefs.weight": "4 4",
    f"{_B}altup.prediction_coefs.weight": "16 4", f"{_B}altup.modality_router.weight": "4 hidden_size",
    f"{_B}laurel.linear_left.weight": "laurel_rank hidden_size", f"{_B}laurel.linear_right.weight": "hidden_size laurel_rank",
    f"{_B}per_layer_input_gate.weight": "hidden_size_per_layer_input hidden_size",
    f"{_B}per_layer_projection.weight": "hidden_size hidden_size_per_layer_input",
    f"{_B}self_attn.q_proj.weight": "num_attention_heads*head_dim hidden_size",
    f"{_B}self_attn.o_proj.weight": "hidden_size num_attention_heads*head_dim",
    **{f"{_B}self_attn.{name}_proj.weight": "num_key_value_heads*head_dim hidden_size" for name in "kv"},
    **{f"{_B}self_attn.{name}_norm.weight": "head_dim" for name in "qk"},
    **{f"{_B}mlp.{name}_proj.weight": "intermediate_size[0] hidden_size" for name in ("gate", "up")},
    f"{_B}mlp.down_proj.weight": "hidden_size intermediate_size[0]"}, e="altup_num_inputs-1")

ROWS = (
    Model("gemma3n", "Gemma3nForCausalLM", "gemma", _GEMMA3N | {"vocab_size_per_layer_input": 560}, tolerance=GELU,
          fault=_FAULT),
    Model("gemma3n-vl", "Gemma3nForConditionalGeneration", "gemma", {"model_type": "gemma3n", "text_config": _GEMMA3N | {
        "model_type": "gemma3n_text", "intermediate_size": [96] * 5, "rms_norm_eps": 1e-6, "vocab_size": 566, "vocab_size_per_layer_input": 566, "altup_num_inputs": 4,
        "altup_active_idx": 0, "altup_correct_scale": True, "final_logit_softcapping": 30.0, "tie_word_embeddings": True,
        "layer_types": ["sliding_attention"] * 4 + ["full_attention"], "hidden_activation": "gelu_pytorch_tanh"}},
          shapes=lambda config: _SHAPES(config["text_config"]) | {"model.embed_vision.embedding.weight": (8, 64)}, fault=_FAULT),
)
