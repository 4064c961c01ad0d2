"""DeepSeek V4: as DeepSeek publishes it, experts in FP4; and as transformers 5 saves it, in bfloat16."""

# fmt: off
import numpy as np

from .rows import V4, Fault, Model, tensors

_L, _E = "layers.{b}.", "layers.{b}.ffn.experts.{e}."
_RATIOS = [0, 4, 128, 4]
_HASHED = 1
_HUB = {
    "model_type": "deepseek_v4", "hidden_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 128, "qk_rope_head_dim": 32, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 32,
    "index_n_heads": 4, "index_head_dim": 64, "index_topk": 8, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "norm_topk_prob": True, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc", "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
    "num_hash_layers": _HASHED, "num_nextn_predict_layers": 1, "sliding_window": 64, "compress_ratios": [*_RATIOS, 0], "compress_rope_theta": 160000.0,
    "hc_mult": 4, "hc_eps": 1e-6, "hc_sinkhorn_iters": 20, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 256, "beta_fast": 32, "beta_slow": 1},
    "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "expert_dtype": "fp4",
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}}
_BLOCK = {
    **{f"{_L}hc_{part}_{name}": shape for part in ("attn", "ffn")
       for name, shape in (("fn", "hc_mult*(hc_mult+2) hc_mult*hidden_size"), ("base", "hc_mult*(hc_mult+2)"), ("scale", "3"))},
    _L + "attn_norm.weight": "hidden_size", _L + "ffn_norm.weight": "hidden_size", _L + "attn.attn_sink": "num_attention_heads",
    _L + "attn.wq_a.weight": "q_lora_rank hidden_size", _L + "attn.q_norm.weight": "q_lora_rank",
    _L + "attn.wq_b.weight": "num_attention_heads*head_dim q_lora_rank", _L + "attn.wkv.weight": "head_dim hidden_size",
    _L + "attn.kv_norm.weight": "head_dim", _L + "attn.wo_a.weight": "o_groups*o_lora_rank num_attention_heads*head_dim//o_groups",
    _L + "attn.wo_b.weight": "hidden_size o_groups*o_lora_rank", _L + "ffn.gate.weight": "n_routed_experts hidden_size",
    **{f"{_L}ffn.shared_experts.{w}.weight": shape for w, shape in (
        ("w1", "moe_intermediate_size hidden_size"), ("w2", "hidden_size moe_intermediate_size"), ("w3", "moe_intermediate_size hidden_size"))},
    **{f"{_E}{w}.weight": shape for w, shape in (
        ("w1", "moe_intermediate_size hidden_size"), ("w2", "hidden_size moe_intermediate_size"), ("w3", "moe_intermediate_size hidden_size"))},
}


def _compressor(name: str, length: str, ratio: int) -> dict[str, str]:
    width = f"{2 if ratio == 4 else 1}*{length}"
    return {f"{name}ape": f"{ratio} {width}", f"{name}wkv.weight": f"{width} hidden_size", f"{name}wgate.weight": f"{width} hidden_size",
            f"{name}norm.weight": length}


_NAMES = {"embed.weight": "vocab_size hidden_size", "head.weight": "vocab_size hidden_size", "norm.weight": "hidden_size",
          "hc_head_fn": "hc_mult hc_mult*hidden_size", "hc_head_base": "hc_mult", "hc_head_scale": "1", **_BLOCK}
for _b, _ratio in enumerate(_RATIOS):
    _B = f"layers.{_b}."
    _NAMES |= {_B + "ffn.gate.tid2eid": "vocab_size num_experts_per_tok"} if _b < _HASHED else {_B + "ffn.gate.bias": "n_routed_experts"}
    if _ratio:
        _NAMES |= _compressor(_B + "attn.compressor.", "head_dim", _ratio)
    if _ratio == 4:
        _NAMES |= _compressor(_B + "attn.indexer.compressor.", "index_head_dim", 4) | {
            _B + "attn.indexer.wq_b.weight": "index_n_heads*index_head_dim q_lora_rank", _B + "attn.indexer.weights_proj.weight": "index_n_heads hidden_size"}

_FLOATS = ("attn_sink", "_fn", "_base", "_scale", ".ape", ".gate.bias")
_KINDS = {0: "sliding_attention", 4: "compressed_sparse_attention", 128: "heavily_compressed_attention"}
_OF_THE_HUB = ("model_type", "num_hash_layers", "compress_ratios", "rope_scaling", "torch_dtype", "topk_method", "expert_dtype", "quantization_config")
_SAVED = {key: value for key, value in _HUB.items() if key not in _OF_THE_HUB} | {
    "layer_types": [_KINDS[ratio] for ratio in _RATIOS], "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
    "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256, "beta_fast": 32.0, "beta_slow": 1.0}}


def _published(name: str) -> str:
    for saved, hub in (("model.", ""), ("attn.norm.", "attn.kv_norm."), ("hc_head.hc_", "hc_head_"), ("embed_tokens.", "embed.")):
        name = name.replace(saved, hub)
    return name


def _experts(*shape: int) -> np.ndarray:
    """Experts of each token."""
    return (np.arange(np.prod(shape)) * 7 % 5 % 4).reshape(shape)


_NO_FLOATS = "wants experts in FP4"
_V4 = V4(drop=("layer_types", "mlp_layer_types", "compress_rates", "partial_rotary_factor"), rename=_published,
         add={key: _HUB[key] for key in _OF_THE_HUB[1:3]} | {"qk_rope_head_dim": 32}, fault=Fault(_NO_FLOATS))
_STAGE = {name.replace("layers.", "mtp."): shape for name, shape in _BLOCK.items()} | {"mtp.{b}.ffn.gate.bias": "n_routed_experts"}
_DRAFT = _STAGE | {
    "mtp.0.main_proj.weight": "hidden_size 2*hidden_size", "mtp.0.main_norm.weight": "hidden_size", "mtp.1.norm.weight": "hidden_size",
    "mtp.1.hc_head_fn": "hc_mult hc_mult*hidden_size", "mtp.1.hc_head_base": "hc_mult", "mtp.1.hc_head_scale": "1",
    "mtp.1.markov_head.markov_w1.weight": "vocab_size 16", "mtp.1.markov_head.markov_w2.weight": "vocab_size 16",
    "mtp.1.confidence_head.proj.weight": "1 hidden_size+16"}
_DSPARK = _HUB | {"dspark_block_size": 4, "dspark_target_layer_ids": [0, 2], "dspark_noise_token_id": 300}
ROWS = (
    Model("deepseek4", "DeepseekV4ForCausalLM", "deepseek3", _SAVED, float32=_FLOATS, v4=_V4, fault=Fault(_NO_FLOATS),
          values={"model.layers.0.ffn.gate.tid2eid": _experts}),
    Model("deepseek4-fp4", "DeepseekV4ForCausalLM", "deepseek3", _HUB, shapes=tensors(_NAMES, e="n_routed_experts"), float32=_FLOATS,
          values={"layers.0.ffn.gate.tid2eid": _experts}, fp4=".experts.", fault=Fault(
              outtypes=("auto",), keys=tuple(f"blk.{b}.ffn_gate_inp.weight" for b in range(4))),
          lost="FP4 comes back as floats", unadapted="tried on the floats, `deepseek4`"),
    Model("deepseek4-dspark", "DeepseekV4DSparkModel", "deepseek3", _DSPARK, shapes=tensors(_DRAFT, b="2", e="n_routed_experts"), float32=_FLOATS,
          fp4=".experts.", target="deepseek4-v4", fault=Fault(outtypes=("auto",), keys=tuple(f"blk.{b}.ffn_gate_inp.weight" for b in range(2))),
          lost="FP4 comes back as floats"),
    # the class has no name of its own for a model with eyes
    Model("deepseek4-vision", "DeepseekV4ForCausalLM", "deepseek3", {key: value for key, value in _HUB.items() if key not in _OF_THE_HUB[-2:]} | {
        "vision_n_layers": 1, "vision_dim": 64}, float32=_FLOATS, fault=Fault(_NO_FLOATS),
          values={"layers.0.ffn.gate.tid2eid": _experts}, shapes=tensors(_NAMES | {
              "vision.norm.weight": "vision_dim", "aligner.w1.weight": "64 vision_dim", "image_start": "hidden_size"}, e="n_routed_experts")),
)
