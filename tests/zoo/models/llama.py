"""Llama and its relatives."""

# fmt: off
from .rows import DECODER, LONG, LOST_WINDOW, SCORE, SMALL, THETA, TYPE, V4, YARN, Fault, Model, tensors

_LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}
_MINISTRAL_YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0,
                   "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
_SCORES = Fault("gives every piece of a tokenizer.json the score -1000, so that the runtime merges from the left", model="llama-spm",
                keys=(SCORE, TYPE))
# the first checkpoints spelt the class in a way that transformers has never known
_SPELT = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "model.norm.weight": "hidden_size", "lm_head.weight": "vocab_size hidden_size",
    "model.layers.{b}.input_layernorm.weight": "hidden_size", "model.layers.{b}.post_attention_layernorm.weight": "hidden_size",
    "model.layers.{b}.self_attn.rotary_emb.inv_freq": "hidden_size//num_attention_heads//2",
    **{f"model.layers.{{b}}.self_attn.{name}_proj.weight": "hidden_size hidden_size" for name in "qkvo"},
    **{f"model.layers.{{b}}.mlp.{name}_proj.weight": "intermediate_size hidden_size" for name in ("gate", "up")},
    "model.layers.{b}.mlp.down_proj.weight": "hidden_size intermediate_size"})

ROWS = (
    Model("llama", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": THETA | {"rope_theta": 500000.0}}, v4=V4(), card=True),
    Model("llama-mha", "LlamaForCausalLM", "llama-spm", SMALL | {"num_attention_heads": 4}, "float16",
          v4=V4(drop=("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "rope_theta", "rope_scaling"))),
    Model("llama-spelt", "LLaMAForCausalLM", "llama-spm", SMALL | {
        "model_type": "llama", "num_attention_heads": 4, "hidden_act": "silu", "rms_norm_eps": 1e-6, "torch_dtype": "float16"}, "float16",
          shapes=_SPELT),
    Model("llama-linear", "LlamaForCausalLM", "llama-spm-json", DECODER | {"rope_parameters": THETA | {"rope_type": "linear", "factor": 2.0}},
          v4=V4(rope_key="type", fault=_SCORES), fault=_SCORES),
    Model("llama-llama3", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": _LLAMA3, "tie_word_embeddings": True}, v4=V4()),
    Model("llama-yarn", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": YARN}, v4=V4(rope_key="type")),
    Model("llama-longrope", "LlamaForCausalLM", "llama3", DECODER | {
        "max_position_embeddings": 1024, "rope_parameters": LONG | {
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256, "factor": 4.0}},
          fault=Fault("writes the kind of scaling but not the factors' tensors")),
    Model("llama-bias", "LlamaForCausalLM", "llama3", DECODER | {"attention_bias": True, "mlp_bias": True}, v4=V4()),
    Model("llama-head-dim", "LlamaForCausalLM", "llama3", DECODER | {"head_dim": 32}, "float32", v4=V4()),
    Model("llama-tied", "LlamaForCausalLM", "smollm", DECODER | {"tie_word_embeddings": True}, "float32", v4=V4()),
    Model("llama-256", "LlamaForCausalLM", "gpt4o", DECODER | {"hidden_size": 256, "intermediate_size": 256, "tie_word_embeddings": True}),
    Model("mistral", "MistralForCausalLM", "llama-spm", DECODER | {"sliding_window": 255, "rope_parameters": THETA}, v4=V4(), lost=LOST_WINDOW),
    Model("mistral-tekken", "MistralForCausalLM", "tekken", DECODER | {"head_dim": 32, "sliding_window": None}, v4=V4()),
    Model("ministral3", "Ministral3ForCausalLM", "tekken", DECODER | {"head_dim": 32, "rope_parameters": _MINISTRAL_YARN}),
    Model("mistral3", "Mistral3ForConditionalGeneration", "tekken", {
        "text_config": DECODER | {"model_type": "mistral", "head_dim": 32, "rope_parameters": THETA | {"rope_theta": 1e6}},
        "vision_config": {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                          "num_attention_heads": 2, "image_size": 16, "patch_size": 4}}, v4=V4()),
    Model("mixtral", "MixtralForCausalLM", "llama-spm", DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}, v4=V4()),
    Model("smollm3", "SmolLM3ForCausalLM", "llama3", DECODER | {
        "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0], "tie_word_embeddings": True, "rope_parameters": THETA | {"rope_theta": 5e6}},
        v4=V4()),
)
