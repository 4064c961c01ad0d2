"""LFM2 and its mixture of experts: short convolutions in most blocks, attention in the others."""

# fmt: off
from typing import Any

from .rows import DECODER, RECURRENT, THETA, V4, Model, Shapes, tensors

_KINDS = ["conv", "full_attention", "conv", "full_attention"]
_LFM2 = DECODER | {"num_hidden_layers": 4, "intermediate_size": 144, "block_multiple_of": 32, "layer_types": _KINDS,
                   "rope_parameters": THETA | {"rope_theta": 1000000.0}}
_BOTH_WAYS = _LFM2 | {"model_type": "lfm2", "num_hidden_layers": 2, "conv_L_cache": 3, "norm_eps": 1e-5, "block_ffn_dim_multiplier": 1.0,
                       "block_auto_adjust_ff_dim": True, "layer_types": ["conv", "full_attention"]}
_L = "layers.{b}."
_ALL = {
    "embed_tokens.weight": "vocab_size hidden_size", "embedding_norm.weight": "hidden_size",
    _L + "operator_norm.weight": "hidden_size", _L + "ffn_norm.weight": "hidden_size",
    _L + "feed_forward.w1.weight": "96 hidden_size", _L + "feed_forward.w3.weight": "96 hidden_size",
    _L + "feed_forward.w2.weight": "hidden_size 96",
}
_CONV = {_L + "conv.in_proj.weight": "3*hidden_size hidden_size", _L + "conv.out_proj.weight": "hidden_size hidden_size",
         _L + "conv.conv.weight": "hidden_size 1 conv_L_cache"}
_ATTN = {_L + "self_attn.q_proj.weight": "hidden_size hidden_size", _L + "self_attn.k_proj.weight": "32 hidden_size",
         _L + "self_attn.v_proj.weight": "32 hidden_size", _L + "self_attn.out_proj.weight": "hidden_size hidden_size",
         _L + "self_attn.q_layernorm.weight": "16", _L + "self_attn.k_layernorm.weight": "16"}


def both_ways(config: dict[str, Any]) -> Shapes:
    return tensors(_ALL)(config) | tensors(_CONV, b="[0]")(config) | tensors(_ATTN, b="[1]")(config)


def _audio(config: dict[str, Any]) -> Shapes:
    words = both_ways(config["lfm"] | {"vocab_size": config["vocab_size"]})
    return {f"lfm.{name}": shape for name, shape in words.items()} | {"conformer.pre_encode.out.weight": (32, 32)}


def _detokenizer(config: dict[str, Any]) -> Shapes:
    return {f"lfm.{name}": shape for name, shape in both_ways(config).items()} | {
        "lin.weight": (34, 64), "lin.bias": (34,), "emb.emb.weight": (128, 64), "istft.window": (32,)}


ROWS = (
    Model("lfm2", "Lfm2ForCausalLM", "lfm2", _LFM2, v4=V4(), tolerance=RECURRENT),
    Model("lfm2-plain", "Lfm2ForCausalLM", "lfm2", _LFM2 | {
        "block_auto_adjust_ff_dim": False, "conv_L_cache": 4, "tie_word_embeddings": False}, "float16", tolerance=RECURRENT),
    Model("lfm2moe", "Lfm2MoeForCausalLM", "lfm2", DECODER | {
        "num_hidden_layers": 4, "layer_types": _KINDS, "num_dense_layers": 2, "moe_intermediate_size": 32, "num_experts": 4,
        "num_experts_per_tok": 2, "rope_parameters": THETA | {"rope_theta": 1000000.0}}, tolerance=RECURRENT),
    Model("lfm2-headless", "Lfm2Model", "lfm2", _LFM2, pooling="mean", embeds=True, tolerance=RECURRENT),
    Model("lfm2-embed", "Lfm2BidirectionalModel", "lfm2", _BOTH_WAYS, shapes=both_ways, pooling="cls", embeds=True),
    Model("lfm2vl", "Lfm2VlForConditionalGeneration", "gpt2", {
        "text_config": _LFM2 | {"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"]},
        "vision_config": {"model_type": "siglip2_vision_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
                          "num_attention_heads": 2, "patch_size": 16, "num_patches": 4, "vision_use_head": False},
        "projector_hidden_size": 32}, tolerance=RECURRENT),
    Model("lfm2audio", "Lfm2AudioForConditionalGeneration", "lfm2", {
        "model_type": "lfm2_audio", "encoder": {"d_model": 32}, "lfm": _BOTH_WAYS | {"architectures": ["Lfm2ForCausalLM"], "vocab_size": 426}},
          shapes=_audio),
    Model("lfm25-sound", "Lfm25AudioTokenizer", "none", _BOTH_WAYS | {
        "layer_types": ["conv", "sliding_attention"], "sliding_window": 30, "output_size": 34}, shapes=_detokenizer, embeds=True),
)
