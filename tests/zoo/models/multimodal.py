"""Classes that see or hear around a language model of another family; for those that transformers lacks the names of their weights."""

# fmt: off
from collections.abc import Callable
from typing import Any

from .rows import DECODER, GELU, THETA, TYPE, Fault, Model, Shapes, layer_like, tensors

_LLAMA = DECODER | {"model_type": "llama", "head_dim": 16, "rope_parameters": THETA}
_QWEN2 = DECODER | {"model_type": "qwen2", "rope_parameters": THETA}
_EYE = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 4}
_EAR = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32, "num_mel_bins": 16, "max_source_positions": 8}
_STATED = {"rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False}
_HEAD = "num_attention_heads*head_dim"


def _shapes(prefix: str, head: str, extra: Shapes, bias: bool = False, norms: tuple[str, ...] = (), fused: bool = False,
            around: tuple[str, str] = ("input_layernorm", "post_attention_layernorm"), kv: str = "num_key_value_heads*head_dim",
            ) -> Callable[[dict[str, Any]], Shapes]:
    """Names and shapes of a decoder whose names begin with `prefix`, and `extra`, of other parts."""
    block = f"{prefix}layers.{{b}}."
    rows = {f"{prefix}embed_tokens.weight": "vocab_size hidden_size", f"{prefix}norm.weight": "hidden_size", head: "vocab_size hidden_size"}
    rows |= {f"{block}{name}.weight": "hidden_size" for name in around}
    rows |= {f"{block}self_attn.{name}.weight": "head_dim" for name in norms}
    rows[f"{block}self_attn.o_proj.weight"] = f"hidden_size {_HEAD}"
    rows[f"{block}mlp.down_proj.weight"] = "hidden_size intermediate_size"
    if fused:
        rows[f"{block}self_attn.qkv_proj.weight"] = f"{_HEAD}+2*{kv} hidden_size"
        rows[f"{block}mlp.gate_up_proj.weight"] = "2*intermediate_size hidden_size"
    else:
        for name, rows_of in (("q", _HEAD), ("k", kv), ("v", kv)):
            rows[f"{block}self_attn.{name}_proj.weight"] = f"{rows_of} hidden_size"
            rows |= {f"{block}self_attn.{name}_proj.bias": rows_of} if bias else {}
        rows |= {f"{block}mlp.{name}_proj.weight": "intermediate_size hidden_size" for name in ("gate", "up")}
    make = tensors(rows)
    return lambda config: make({"head_dim": 16} | config | config.get("text_config", {}) | {"vocab_size": config["vocab_size"]}) | extra


def _mtp(shapes: Shapes) -> Shapes:
    """The layer of multi-token prediction of EXAONE 4.5, which is not the language model's by name."""
    more = {"mtp.fc.weight": (64, 128), "mtp.norm.weight": (64,), "mtp.pre_fc_norm_embedding.weight": (64,), "mtp.pre_fc_norm_hidden.weight": (64,)}
    return layer_like("model.language_model.layers.0.", "mtp.layers.0.", *more.items())(shapes)


def _granite4(config: dict[str, Any]) -> Shapes:
    """Granite 4's blocks without state space, whose feed-forward layers are fused."""
    t, n, block = config["text_config"], "model.language_model.", "model.language_model.layers.{b}."
    rows = {n + "embed_tokens.weight": "vocab_size hidden_size", n + "norm.weight": "hidden_size",
            block + "input_layernorm.weight": "hidden_size", block + "post_attention_layernorm.weight": "hidden_size",
            block + "self_attn.q_proj.weight": "hidden_size hidden_size", block + "self_attn.o_proj.weight": "hidden_size hidden_size",
            **{f"{block}self_attn.{x}_proj.weight": "hidden_size//2 hidden_size" for x in "kv"},
            block + "shared_mlp.input_linear.weight": "2*shared_intermediate_size hidden_size",
            block + "shared_mlp.output_linear.weight": "hidden_size shared_intermediate_size"}
    return tensors(rows)(t | {"vocab_size": config["vocab_size"]}) | {"model.image_newline": (64,)}


_EXAONE45 = {
    "text_config": DECODER | {"model_type": "exaone4", "sliding_window": None, "layer_types": ["full_attention"] * 2,
                              "rope_parameters": THETA | {"rope_theta": 1000000.0}},
    "vision_config": {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "num_key_value_heads": 1,
                      "out_hidden_size": 64, "patch_size": 4, "fullatt_block_indexes": [0]}}

ROWS = (
    Model("llava", "LlavaForConditionalGeneration", "llama3", {"text_config": _LLAMA, "vision_config": _EYE}),
    Model("voxtral", "VoxtralForConditionalGeneration", "tekken", {"text_config": _LLAMA, "audio_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 16,
        "max_source_positions": 8}}),
    Model("janus", "JanusForConditionalGeneration", "llama3", {
        "text_config": _LLAMA, "vision_config": {
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 4, "projection_dim": 64,
            "num_image_tokens": 16},
        "vq_config": {"embed_dim": 4, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "channel_multiplier": [1, 1],
                      "num_res_blocks": 1, "num_patches": 4, "projection_dim": 64, "image_token_embed_dim": 64},
        "tie_word_embeddings": False}),
    Model("idefics3", "Idefics3ForConditionalGeneration", "smollm", {
        "text_config": _LLAMA | {"architectures": ["VLlama3ForCausalLM"]}, "vision_config": _EYE | {"model_type": "idefics3_vision"}, "scale_factor": 2, "tie_word_embeddings": False}),
    Model("smolvlm", "SmolVLMForConditionalGeneration", "llama3", {
        "text_config": _LLAMA | {"architectures": ["LlamaForCausalLM"]}, "vision_config": _EYE | {"model_type": "smolvlm_vision"}, "scale_factor": 2, "tie_word_embeddings": False}),
    Model("vllama3", "VLlama3ForCausalLM", "smollm", {"model_type": "idefics3", "text_config": _LLAMA | _STATED | {"vocab_size": 421}},
          shapes=_shapes("model.text_model.", "lm_head.weight", {"model.connector.modality_projection.proj.weight": (64, 32)})),
    Model("sarashina2", "Sarashina2VisionForCausalLM", "llama-spm", {"model_type": "sarashina2_vision", "text_config": _LLAMA | _STATED | {
        "vocab_size": 539}}, shapes=_shapes("llm.model.", "llm.lm_head.weight", {"norm.weight": (64,), "visual.merger.ln_q.weight": (32,)})),
    Model("qwen2-audio", "Qwen2AudioForConditionalGeneration", "qwen2", {"text_config": _QWEN2, "audio_config": _EAR}),
    Model("flamingo3", "AudioFlamingo3ForConditionalGeneration", "qwen2", {"text_config": _QWEN2, "audio_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 16,
        "max_source_positions": 8}}),
    Model("lighton-ocr", "LightOnOcrForConditionalGeneration", "qwen2", {
        "text_config": DECODER | {"model_type": "qwen3", "head_dim": 16, "rope_parameters": THETA, "architectures": ["Qwen3ForCausalLM"]},
        "vision_config": {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "image_size": 16, "patch_size": 4}, "spatial_merge_size": 2}),
    Model("dots-ocr", "DotsOCRForCausalLM", "qwen2", _QWEN2 | _STATED | {"model_type": "dots_ocr", "vision_config": {"hidden_size": 32}},
          shapes=_shapes("model.", "lm_head.weight", {"vision_tower.merger.ln_q.weight": (32,)}, bias=True)),
    Model("step3-vl", "StepVLForConditionalGeneration", "qwen2", {
        "model_type": "step_robotics", "text_config": _QWEN2 | _STATED | {"model_type": "qwen3", "head_dim": 16, "vocab_size": 430}},
          shapes=_shapes("model.language_model.", "lm_head.weight", {"vit_large_projector.weight": (64, 32)}, norms=("q_norm", "k_norm"))),
    Model("iquest", "IQuestCoderForCausalLM", "llama3", _LLAMA | _STATED | {"model_type": "iquestcoder"},
          shapes=_shapes("model.", "lm_head.weight", {})),
    Model("kormo", "KORMoForCausalLM", "llama3", _QWEN2 | _STATED | {"model_type": "kormo", "head_dim": 16},
          shapes=_shapes("model.", "lm_head.weight", {}, around=("pre_attention_layernorm", "pre_mlp_layernorm"))),
    Model("phi4v", "Phi4ForCausalLMV", "phi4", _LLAMA | _STATED | {
        "model_type": "phi4-siglip", "original_max_position_embeddings": 256, "vision_config": {"hidden_size": 32}},
          shapes=_shapes("model.", "lm_head.weight", {"model.mm_projector.0.weight": (64, 32)}, fused=True)),
    *(Model(name, cls, "llama3", {
        "text_config": _LLAMA | {"model_type": "granite", "tie_word_embeddings": True}, "has_lora_adapter": False,
        "encoder_config": {"input_dim": 16, "num_layers": 1, "hidden_dim": 32, "num_heads": 2, "output_dim": 8, "context_size": 8, "max_pos_emb": 8},
        "projector_config": {"model_type": "blip_2_qformer", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                             "num_attention_heads": 2, "encoder_hidden_size": 32, "vocab_size": 8}},
          fault=Fault("lists the class for its text part but has no converter for it"))
      for name, cls in (("granite-speech", "GraniteSpeechForConditionalGeneration"),
                        ("granite-speech-plus", "GraniteSpeechPlusForConditionalGeneration"))),
    Model("granite4-vision", "Granite4VisionForConditionalGeneration", "llama3", {
        "text_config": DECODER | {"model_type": "granite4_vision_text", "num_hidden_layers": 6, "architectures": ["GraniteForCausalLM"], "rope_parameters": THETA, "attention_multiplier": 0.125,
                                 "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0},
        "vision_config": _EYE | {"hidden_size": 64, "num_hidden_layers": 2}, "qformer_config": {
            "model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 32, "cross_attention_frequency": 1,
            "use_qformer_text_input": False, "max_position_embeddings": 8, "vocab_size": 8},
        "deepstack_layer_map": [[-2, 3], [-1, 0]], "spatial_target_layers": [1, 2, 4, 5], "downsample_rate": "1/2"}),
    Model("granite4-vision-fused", "Granite4VisionForConditionalGeneration", "llama3", {
        "model_type": "granite4_vision", "text_config": DECODER | {
            "model_type": "granitemoehybrid", "architectures": ["GraniteMoeHybridForCausalLM"], "num_hidden_layers": 6, "layer_types": ["attention"] * 6,
            "num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 96, "position_embedding_type": "rope", "rope_theta": 10000.0,
            "attention_multiplier": 0.125, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_expand": 2,
            "mamba_d_conv": 4, "attention_bias": False, "hidden_act": "silu", "mamba_conv_bias": True, "mamba_proj_bias": False},
        "vision_config": {"num_hidden_layers": 2}, "tie_word_embeddings": True, "deepstack_layer_map": [[-2, 3], [-1, 0]], "spatial_target_layers": [1, 2, 4, 5]},
          shapes=_granite4),
    Model("gemma4-unified", "Gemma4UnifiedForConditionalGeneration", "gemma4", {
        "text_config": DECODER | {
            "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 6, "sliding_window": 8, "global_head_dim": 64,
            "final_logit_softcapping": 30.0, "rope_parameters": {
                "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
                "sliding_attention": THETA}},
        "vision_config": {"patch_size": 4, "mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 64},
        "audio_config": {"audio_embed_dim": 16}}, add={"moe_intermediate_size": None, "hidden_size_per_layer_input": 0}, tolerance=GELU, fault=Fault(keys=(TYPE,))),
    Model("exaone4-5", "Exaone4_5_ForConditionalGeneration", "llama3", _EXAONE45),
    Model("exaone4-5-mtp", "Exaone4_5_ForConditionalGeneration", "llama3", _EXAONE45 | {
        "text_config": _EXAONE45["text_config"] | {"num_nextn_predict_layers": 1, "mtp_share_layers": True}}, extra=_mtp),
)
