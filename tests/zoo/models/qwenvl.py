"""The text parts of Qwen's models that see and hear."""

# fmt: off
from .rows import DECODER, RECURRENT, THETA, V4, Fault, Model, Shapes, tensors

_MROPE = THETA | {"rope_theta": 1000000.0, "mrope_section": [4, 2, 2]}
_OLD = V4(add={"rope_scaling": {"type": "mrope", "mrope_section": [4, 2, 2]}})
_EYE2 = {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 4}
_EYE25 = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4,
          "fullatt_block_indexes": [0]}
_EYE3 = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4,
         "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
_QWEN3 = DECODER | {"head_dim": 32, "rope_parameters": THETA | {
    "rope_theta": 5000000.0, "mrope_section": [8, 4, 4], "mrope_interleaved": True}}
_MOE = _QWEN3 | {"moe_intermediate_size": 48, "num_experts": 4, "num_experts_per_tok": 2}
_EAR = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32, "output_dim": 64, "num_mel_bins": 16,
        "downsample_hidden_size": 8}
# the published conversation ends in a token that only tokenizer_config.json names
_CHAT = Fault(keys=("tokenizer.chat_template", "tokenizer.ggml.bos_token_id"))


def _turned(shapes: Shapes) -> Shapes:
    """Experts as they are published; transformers 5 saves them the other way round."""
    return {name: (shape[0], shape[2], shape[1]) for name, shape in shapes.items() if ".mlp.experts." in name}


def _thinker(mlp: dict[str, str], *norms: str) -> dict[str, str]:
    """Names and shapes of the part of an Omni model that writes."""
    block = "thinker.model.layers.{b}."
    rows = {"thinker.model.embed_tokens.weight": "vocab_size hidden_size", "thinker.model.norm.weight": "hidden_size",
            "thinker.lm_head.weight": "vocab_size hidden_size"}
    rows |= {f"{block}{name}.weight": "hidden_size" for name in ("input_layernorm", "post_attention_layernorm")}
    rows |= {f"{block}self_attn.{name}.weight": "head_dim" for name in norms}
    for name, heads in (("q", "num_attention_heads"), ("k", "num_key_value_heads"), ("v", "num_key_value_heads")):
        rows[f"{block}self_attn.{name}_proj.weight"] = f"{heads}*head_dim hidden_size"
        rows |= {} if norms else {f"{block}self_attn.{name}_proj.bias": f"{heads}*head_dim"}
    rows[f"{block}self_attn.o_proj.weight"] = "hidden_size num_attention_heads*head_dim"
    return rows | {f"{block}mlp.{name}": shape for name, shape in mlp.items()}


def _omni(rows: dict[str, str]):
    shapes = tensors(rows)
    return lambda config: shapes(config["thinker_config"]["text_config"] | {"vocab_size": config["vocab_size"]}) | {
        "thinker.audio_tower.ln_post.weight": (32,), "talker.thinker_to_talker_proj.bias": (32,)}


_OMNI25 = _thinker({"gate_proj.weight": "intermediate_size hidden_size", "up_proj.weight": "intermediate_size hidden_size",
                    "down_proj.weight": "hidden_size intermediate_size"})
_OMNI3 = _thinker({
    "gate.weight": "num_experts hidden_size", "experts.{e}.gate_proj.weight": "moe_intermediate_size hidden_size",
    "experts.{e}.up_proj.weight": "moe_intermediate_size hidden_size",
    "experts.{e}.down_proj.weight": "hidden_size moe_intermediate_size"}, "q_norm", "k_norm")

# llama.cpp leaves pairs 13 and 14 of these heads unturned: 1e-5 to 2e-5 over the seeds, growing with the position. The same
# weights in a file of `qwen3`, which turns all of them, give 8e-7.
SECTIONS = 5e-5

ROWS = (
    Model("qwen2vl", "Qwen2VLForConditionalGeneration", "qwen2", {
        "text_config": DECODER | {"rope_parameters": _MROPE}, "vision_config": _EYE2}, v4=_OLD,
          tolerance=RECURRENT),  # the runtime takes no epsilon
    Model("qwen2vl-headless", "Qwen2VLModel", "qwen2", {
        "text_config": DECODER | {"rope_parameters": _MROPE}, "vision_config": _EYE2}, embeds=True, tolerance=RECURRENT),
    Model("qwen25vl", "Qwen2_5_VLForConditionalGeneration", "qwen2", {
        "text_config": DECODER | {"rope_parameters": _MROPE, "tie_word_embeddings": True}, "vision_config": _EYE25,
        "tie_word_embeddings": True}, tolerance=RECURRENT),
    Model("qwen3vl", "Qwen3VLForConditionalGeneration", "qwen2", {"text_config": _QWEN3, "vision_config": _EYE3},
          v4=V4(add={"rope_scaling": {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True}}), tolerance=SECTIONS),
    Model("qwen3vlmoe", "Qwen3VLMoeForConditionalGeneration", "qwen2", {"text_config": _MOE, "vision_config": _EYE3}, extra=_turned,
          tolerance=SECTIONS),
    Model("qwen3asr", "Qwen3ASRForConditionalGeneration", "qwen2", {"text_config": _QWEN3 | {"model_type": "qwen3"}, "audio_config": _EAR,
          "tie_word_embeddings": False}, fault=_CHAT),
    Model("qwen25omni", "Qwen2_5OmniModel", "qwen2", {"model_type": "qwen2_5_omni", "thinker_config": {
        "model_type": "qwen2_5_omni_thinker", "text_config": DECODER | {
            "model_type": "qwen2_5_omni_text", "head_dim": 16, "rms_norm_eps": 1e-6, "vocab_size": 430, "hidden_act": "silu",
            "rope_parameters": _MROPE}}}, shapes=_omni(_OMNI25)),
    Model("qwen3omni", "Qwen3OmniMoeForConditionalGeneration", "qwen2", {"model_type": "qwen3_omni_moe", "thinker_config": {
        "model_type": "qwen3_omni_moe_thinker", "text_config": _MOE | {
            "model_type": "qwen3_omni_moe_text", "rms_norm_eps": 1e-6, "vocab_size": 430, "hidden_act": "silu"}}},
          shapes=_omni(_OMNI3), fault=Fault(keys=("tokenizer.ggml.bos_token_id",))),
)
