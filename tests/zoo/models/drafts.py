"""Draft models: EAGLE-3, DFlash, DSpark; their targets are other rows."""

# fmt: off
import numpy as np

from .rows import DECODER, LLAMA_NAMES, TYPE, Fault, L, Model, tensors, without

LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
OWN = {"d2t": lambda n: np.arange(n)}  # every other token of the target
MARKED = OWN | {"t2d": lambda n: np.arange(n) % 2 == 0}

_EAGLE = DECODER | {"num_hidden_layers": 1, "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "draft_vocab_size": 128,
                    "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
_BLOCK = {"midlayer." + name.removeprefix(L): shape for name, shape in LLAMA_NAMES.items() if name.startswith(L)} | {
    "midlayer.hidden_norm.weight": "hidden_size",
    "midlayer.self_attn.q_proj.weight": "hidden_size 2*hidden_size", "midlayer.self_attn.k_proj.weight": "hidden_size//2 2*hidden_size",
    "midlayer.self_attn.v_proj.weight": "hidden_size//2 2*hidden_size"}
_EAGLE_NAMES = _BLOCK | {"norm.weight": "hidden_size", "fc.weight": "hidden_size 3*64", "lm_head.weight": "draft_vocab_size hidden_size",
                         "d2t": "draft_vocab_size", "t2d": "vocab_size"}
_INNER: dict = {key: value for key, value in _EAGLE.items() if key not in ("draft_vocab_size", "torch_dtype")}
_SPECULATOR = {"model_type": "eagle3", "transformer_layer_config": _INNER, "draft_vocab_size": 128, "norm_before_residual": True,
               "norm_before_fc": True, "target_hidden_size": None, "eagle_aux_hidden_state_layer_ids": [1, 2, 3]}
_SPECULATOR["transformer_layer_config"]["head_dim"] = 16
_OTHER = Fault("takes the target's vocabulary for a Llama's", keys=("tokenizer.ggml.add_space_prefix",))
_SPECULATED = {name.replace("midlayer.", "layers.0."): shape for name, shape in _EAGLE_NAMES.items()} | {
    "embed_tokens.weight": "vocab_size hidden_size", "input_norm.weight": "3*64"}

_DFLASH = DECODER | {"model_type": "qwen3", "hidden_act": "silu", "rms_norm_eps": 1e-6, "head_dim": 32, "rope_theta": 1000000.0, "block_size": 8,
                     "layer_types": ["full_attention"] * 2, "use_sliding_window": False, "sliding_window": None, "tie_word_embeddings": False,
                     "num_target_layers": 2, "attention_bias": False,
                     "dflash_config": {"mask_token_id": 300, "target_layer_ids": [0, 1]}}
_B = "layers.{b}."
_DFLASH_NAMES = {"fc.weight": "hidden_size 2*hidden_size", "hidden_norm.weight": "hidden_size", "norm.weight": "hidden_size",
                 _B + "input_layernorm.weight": "hidden_size", _B + "post_attention_layernorm.weight": "hidden_size",
                 _B + "self_attn.q_proj.weight": "4*32 hidden_size", _B + "self_attn.k_proj.weight": "2*32 hidden_size",
                 _B + "self_attn.v_proj.weight": "2*32 hidden_size", _B + "self_attn.o_proj.weight": "hidden_size 4*32",
                 _B + "self_attn.q_norm.weight": "32", _B + "self_attn.k_norm.weight": "32",
                 _B + "mlp.gate_proj.weight": "intermediate_size hidden_size", _B + "mlp.up_proj.weight": "intermediate_size hidden_size",
                 _B + "mlp.down_proj.weight": "hidden_size intermediate_size"}
_SECOND = _DFLASH | {"use_sliding_window": True, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"], "is_causal": False,
                     "rope_is_neox_style": False, "final_logit_softcapping": 30.0, "output_multiplier": 0.5, "input_embedding_scale": 8.0,
                     "dflash_config": _DFLASH["dflash_config"] | {
                         "conv_kernel_size": 2, "conv_group_size": 16, "selector_rank": 16, "selector_top_k": 4, "attention_value_scale": 0.5}}
_SECOND_NAMES = _DFLASH_NAMES | {
    "embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size", _B + "self_attn.sinks": "4",
    **{_B + f"{part}_conv.base_kernel": "2 2 hidden_size" for part in ("attention", "mlp")},
    **{_B + f"{part}_conv.kernel_projection.weight": "2*2*64//16 hidden_size" for part in ("attention", "mlp")},
    "candidate_selector.predecessor_codebook": "vocab_size 16", "candidate_selector.successor_codebook": "vocab_size 16",
    "candidate_selector.hidden_projection.weight": "16 hidden_size"}
_DSPARK = {key: value for key, value in _DFLASH.items() if key != "dflash_config"} | {
    "mask_token_id": 300, "target_layer_ids": [0, 1], "markov_head_type": "vanilla", "markov_rank": 16, "draft_vocab_size": 128}
_DSPARK_NAMES = _DFLASH_NAMES | {
    "markov_head.markov_w1.weight": "vocab_size markov_rank", "markov_head.markov_w2.weight": "draft_vocab_size markov_rank",
    "confidence_head.proj.weight": "1 hidden_size+markov_rank", "confidence_head.proj.bias": "1", "embed_tokens.weight": "vocab_size hidden_size",
    "lm_head.weight": "draft_vocab_size hidden_size", "d2t": "draft_vocab_size", "t2d": "vocab_size"}

_G = without(_DSPARK_NAMES, "self_attn.v_proj", "d2t", "t2d", "confidence")
_GEMMA = {"model_type": "gemma4_dspark", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "num_global_key_value_heads": 1, "head_dim": 16, "global_head_dim": 32, "max_position_embeddings": 256,
          "rms_norm_eps": 1e-6, "layer_types": ["full_attention"] * 2, "attention_k_eq_v": True, "hidden_activation": "gelu_pytorch_tanh",
          "attention_bias": False, "final_logit_softcapping": None, "tie_word_embeddings": False, "enable_moe_block": False,
          "block_size": 8, "mask_token_id": 300, "target_layer_ids": [0, 4],
          "rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}}}
_GEMMA_NAMES = _G | {
    _B + "self_attn.k_proj.weight": "32 hidden_size", _B + "pre_feedforward_layernorm.weight": "hidden_size",
    _B + "post_feedforward_layernorm.weight": "hidden_size", _B + "layer_scalar": "1", "lm_head.weight": "vocab_size hidden_size",
    "markov_head.markov_w1.weight": "vocab_size 16", "markov_head.markov_w2.weight": "vocab_size 16",
    "confidence_proj.weight": "1 hidden_size+16", "confidence_proj.bias": "1"}
_MUSE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
         "model_type": "muse_glimmer_assistant", "max_position_embeddings": 256, "sliding_window": 64, "rms_norm_eps": 1e-5, "block_size": 8,
         "mask_token_id": 300, "target_layer_ids": [0, 1], "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
         "layer_types": ["sliding_attention"] * 2, "hidden_act": "silu"}
_MUSE_NAMES = {{"fc.weight": "encoder.fc.weight", "hidden_norm.weight": "encoder.output_norm_enc.weight"}.get(name, name): shape
               for name, shape in _DFLASH_NAMES.items()}


def _flat(shapes):
    """The shapes of a config whose sizes stand in `transformer_layer_config`."""
    return lambda config: shapes(config | config["transformer_layer_config"])


ROWS = (
    Model("eagle3", "LlamaForCausalLMEagle3", "llama3", _EAGLE | {"rope_scaling": LLAMA3}, "bfloat16", shapes=tensors(_EAGLE_NAMES),
          values=MARKED, target="llama-llama3"),
    Model("eagle3-speculator", "Eagle3Speculator", "qwen2", _SPECULATOR, "float16", shapes=_flat(tensors(_SPECULATED)), values=MARKED,
          target="qwen3", fault=_OTHER),
    Model("dflash", "DFlashDraftModel", "qwen2", _DFLASH, "bfloat16", shapes=tensors(_DFLASH_NAMES), target="qwen3"),
    Model("dflash2", "DFlash2DraftModel", "qwen2", _SECOND, "bfloat16", shapes=tensors(_SECOND_NAMES), target="qwen3vl",
          lost="heads that pair neighbours come back pairing halves, which computes the same"),
    Model("dspark", "Qwen3DSparkModel", "qwen2", _DSPARK, "bfloat16", shapes=tensors(_DSPARK_NAMES), values=MARKED, target="qwen3"),
    Model("dspark-gemma4", "Gemma4DSparkModel", "gemma4", _GEMMA, "bfloat16", shapes=tensors(_GEMMA_NAMES), target="gemma4", fault=Fault(keys=(TYPE,))),
    Model("muse-glimmer-assistant", "MuseGlimmerAssistantModel", "neox", _MUSE, "bfloat16", shapes=tensors(_MUSE_NAMES), target="gptneox"),
)
