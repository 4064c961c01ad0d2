"""dots3-note: blocks of both geometries, one that predicts."""

# fmt: off
from typing import Any

from .rows import OUTSIDE, SMALL, Fault, L, Model, Shapes, tensors

_A, _M, _MLP = L + "self_attn.", L + "mlp.", {"gate_proj": "{} hidden_size", "up_proj": "{} hidden_size", "down_proj": "hidden_size {}"}
_NOTE = SMALL | {
    "model_type": "dots3_note_text", "num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 16, "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2, "swa_q_lora_rank": 32, "swa_kv_lora_rank": 32,
    "swa_qk_nope_head_dim": 24, "swa_qk_rope_head_dim": 8, "swa_v_head_dim": 16, "swa_head_dim": 32, "head_dim": 24, "swa_rope_theta": 50000.0,
    "rope_theta": 80000000.0, "sliding_window_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 32, "first_k_dense_replace": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": True, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "n_group": 1, "topk_group": 1, "index_topk": 8, "index_head_dim": 64, "index_n_heads": 2, "use_dsa": True,
    "apply_mla_qkv_lora_rescale": True, "k_rope_only_layernorm": True, "attention_gate_type": "headwise", "hidden_act": "silu",
    "swa_attention_gate_type": "headwise", "rms_norm_eps": 1e-5, "attention_bias": False, "tie_word_embeddings": False}


def _attention(swa: str) -> dict[str, str]:
    heads, rank = f"{swa}num_attention_heads", f"{swa}kv_lora_rank"
    key, value = f"({swa}qk_nope_head_dim+{swa}qk_rope_head_dim)", f"{swa}v_head_dim"
    return {
        _A + "q_a_proj.weight": "q_lora_rank hidden_size", _A + "q_a_layernorm.weight": "q_lora_rank",
        _A + "q_b_proj.weight": f"{heads}*{key} q_lora_rank", _A + "kv_a_proj_with_mqa.weight": f"{rank}+qk_rope_head_dim hidden_size",
        _A + "kv_a_layernorm.weight": rank, _A + "kv_b_proj.weight": f"{heads}*({swa}qk_nope_head_dim+{value}) {rank}",
        _A + "k_rope_only_layernorm.weight": "qk_rope_head_dim", _A + "g_proj.weight": f"{heads} hidden_size",
        _A + "o_proj.weight": f"hidden_size {heads}*{value}"}


_INDEXER = {
    _A + "indexer.wq_b.weight": "index_n_heads*index_head_dim q_lora_rank", _A + "indexer.wk.weight": "index_head_dim hidden_size",
    _A + "indexer.k_norm.weight": "index_head_dim", _A + "indexer.k_norm.bias": "index_head_dim",
    _A + "indexer.weights_proj.weight": "index_n_heads hidden_size"}
_SPARSE = {
    _M + "gate.weight": "n_routed_experts hidden_size", _M + "gate.e_score_correction_bias": "n_routed_experts",
    **{f"{_M}experts.{{e}}.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()},
    **{f"{_M}shared_experts.{p}.weight": s.format("moe_intermediate_size") for p, s in _MLP.items()}}
_DENSE = {f"{_M}{p}.weight": s.format("intermediate_size") for p, s in _MLP.items()}
_NEXTN = {L + "eh_proj.weight": "hidden_size 2*hidden_size", "model.mtp.embed_tokens.weight": "vocab_size hidden_size",
          **{f"{L}{name}.weight": "hidden_size" for name in ("enorm", "hnorm", "shared_head.norm")}}
_NORMS = {L + "input_layernorm.weight": "hidden_size", L + "post_attention_layernorm.weight": "hidden_size"}


def _shapes(predicts: bool, *parts: str) -> Any:
    def shapes(config: dict[str, Any]) -> Shapes:
        mtp = (3,) * predicts
        out: Shapes = {name: (32,) for name in parts}
        for rows, blocks in ((OUTSIDE, ()), (_NORMS, (0, 1, 2, *mtp)), (_attention(""), (0, 2)), (_attention("swa_"), (1, *mtp)),
                             (_INDEXER, (0, 2)), (_DENSE, (0, *mtp)), (_SPARSE, (1, 2)), (_NEXTN if predicts else {}, mtp)):
            out |= tensors(rows, b=str(blocks), e="n_routed_experts")(config)
        return out

    return shapes


_WHOLE = _NOTE | {"model_type": "dots3_note", "vision_config": {"adapter_out_dim": 64}, "audio_config": {"adapter_out_dim": 64}}
_FAULT = Fault("reads settings by transformers 5, which has others than the Hub", config={"model_type": "dots3"})
_EXACT = ("e_score_correction_bias",)
ROWS = (
    Model("dots3-text", "Dots3NoteTextForCausalLM", "dots3", _NOTE | {"num_nextn_predict_layers": 1}, float32=_EXACT, shapes=_shapes(True), fault=_FAULT),
    Model("dots3", "Dots3NoteForConditionalGeneration", "dots3", _WHOLE,
          float32=_EXACT, shapes=_shapes(False, "vision_encoder.post_trunk_norm.weight"), fault=_FAULT),
    Model("dots3-hub", "Dots3NoteForCausalLM", "dots3", _WHOLE,
          float32=_EXACT, shapes=_shapes(False, "audio_encoder.audio_adapter.proj.0.weight"), fault=_FAULT),
)
