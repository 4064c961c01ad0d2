
"""The zoo: tiny real models of every supported architecture, as rows of data.

Weights come from `fill.parameter`, keyed by the row and the tensor's name on disk, so that a row has the same bytes
everywhere. `build.build(name, folder)` writes the folder as `save_pretrained` of transformers 5 would (`rope_parameters`,
`dtype`), or, for the names that end in "-v4", as the models on the Hub that transformers 4 wrote.
"""

# fmt: off
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
DECODER = SMALL | HEADS
THETA = {"rope_type": "default", "rope_theta": 10000.0}


@dataclass(frozen=True)
class V4:
    """How transformers 4 wrote the same model: keys it did not have, keys it had besides, the name of the rope kind,
    names of tensors, and tensors that were buffers then."""

    drop: tuple[str, ...] = ()
    add: dict[str, Any] = field(default_factory=dict)
    rope_key: str = "rope_type"
    rename: Callable[[str], str] | None = None
    extra: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One row.

    `config` goes to the class's configuration (the vocabulary's size and special ids are put in), `drop` and `add` change
    config.json after that, `float32` names tensors that stay float32 whatever `dtype`, `extra` makes shapes of tensors that the Hub
    ships but transformers does not know, `layout` "fused" stores experts in one tensor where transformers would not, `pooling` and `dense`
    add the files of sentence-transformers, `zero_norms` says that norms are stored minus 1.
    """

    name: str
    cls: str
    vocab: str
    config: dict[str, Any]
    dtype: str = "bfloat16"
    v4: V4 | None = None
    old: bool = False
    drop: tuple[str, ...] = ()
    add: dict[str, Any] = field(default_factory=dict)
    float32: tuple[str, ...] = ()
    extra: Callable[[dict[str, tuple[int, ...]]], dict[str, tuple[int, ...]]] | None = None
    layout: str | None = None
    pooling: str | None = None
    dense: tuple[int, ...] = ()
    zero_norms: bool = False
    mxfp4: bool = False
    card: bool = False
    embeds: bool = False

    @property
    def tolerance(self) -> float:
        """How far llama.cpp's float32 results may be from transformers', as a part of the largest value.

        ggml looks GELU up in a float16 table, quantises activations for MXFP4 weights, and sums recurrences in another order.
        """
        if self.mxfp4:
            return 5e-2
        if self.cls.startswith(("Gemma", "GPT2", "Bert", "Roberta", "XLMRoberta")):
            return 1e-3
        return 1e-4 if self.cls.startswith("Qwen3_5") else 2e-5


def _layer_like(source: str, target: str, *more: tuple[str, tuple[int, ...]]) -> Callable:
    """Extra tensors shaped like those of the layer `source`, under `target`, and `more`."""

    def extra(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        copies = {target + name[len(source) :]: shape for name, shape in shapes.items() if name.startswith(source)}
        return copies | dict(more)

    return extra


def _mtp35(prefix: str) -> Callable:
    """The multi-token-prediction head of Qwen3.5: one more full-attention layer and what joins it to the model."""
    h = 64
    more = (("mtp.fc.weight", (h, 2 * h)), ("mtp.norm.weight", (h,)),
            ("mtp.pre_fc_norm_embedding.weight", (h,)), ("mtp.pre_fc_norm_hidden.weight", (h,)))
    return _layer_like(f"{prefix}layers.3.", "mtp.layers.0.", *more)


_mtp3 = _layer_like(
    "model.layers.1.", "model.layers.2.", ("model.layers.2.eh_proj.weight", (64, 128)), ("model.layers.2.enorm.weight", (64,)),
    ("model.layers.2.hnorm.weight", (64,)), ("model.layers.2.shared_head.norm.weight", (64,)),
)

_LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
_LONG = {"short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.45, 1.6, 1.8], "long_factor": [1.0, 1.3, 2.0, 3.1, 4.4, 6.0, 8.5, 12.0]}
_GPT_OSS_YARN = {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                 "original_max_position_embeddings": 64}
_MINISTRAL_YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0,
                   "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
_DEEPSEEK_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32,
                  "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}
_MROPE = {"rope_type": "default", "rope_theta": 10000000.0, "partial_rotary_factor": 0.25, "mrope_section": [2, 1, 1],
          "mrope_interleaved": True}

_QWEN35 = SMALL | {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rope_parameters": _MROPE,
                   "linear_conv_kernel_dim": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2,
                   "linear_num_value_heads": 4}
_QWEN35_MOE = {k: v for k, v in _QWEN35.items() if k != "intermediate_size"} | {
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2}
_QWEN35_EYE = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4,
               "num_position_embeddings": 16, "deepstack_visual_indexes": []}
_QWEN35_F32 = ("linear_attn.A_log", "linear_attn.norm.weight")

_GEMMA = DECODER | {"head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6}
_GEMMA3 = _GEMMA | {"num_hidden_layers": 6, "sliding_window": 8, "query_pre_attn_scalar": 24}
_GEMMA3_ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0}, "sliding_attention": THETA}
_GEMMA3_LINEAR = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0}, "sliding_attention": THETA}
_SIGLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 4,
           "vision_use_head": False}
_GEMMA3_V4 = V4(drop=("layer_types", "_sliding_window_pattern", "use_bidirectional_attention"), add={"sliding_window_pattern": 6})
_GEMMA4 = _GEMMA | {"num_hidden_layers": 6, "sliding_window": 8, "global_head_dim": 64, "final_logit_softcapping": 30.0}
_GEMMA4_ROPE = {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
                "sliding_attention": THETA}

_DEEPSEEK = SMALL | {"num_attention_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
                     "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1}
_DEEPSEEK3 = _DEEPSEEK | {"num_key_value_heads": 4, "q_lora_rank": 32, "n_routed_experts": 8, "n_group": 4, "topk_group": 2,
                          "n_shared_experts": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5}
_DEEPSEEK3_V4 = V4(add={"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1}, rope_key="type")
_BERT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128,
         "type_vocab_size": 2, "hidden_act": "gelu"}

ROWS: tuple[Model, ...] = (
    Model("llama", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": THETA | {"rope_theta": 500000.0}}, v4=V4(), card=True),
    Model("llama-mha", "LlamaForCausalLM", "llama-spm", SMALL | {"num_attention_heads": 4}, "float16",
          v4=V4(drop=("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "rope_theta", "rope_scaling"))),
    Model("llama-linear", "LlamaForCausalLM", "llama-spm-json", DECODER | {"rope_parameters": THETA | {"rope_type": "linear", "factor": 2.0}},
          v4=V4(rope_key="type")),
    Model("llama-llama3", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": _LLAMA3, "tie_word_embeddings": True}, v4=V4()),
    Model("llama-yarn", "LlamaForCausalLM", "llama3", DECODER | {"rope_parameters": _YARN}, v4=V4(rope_key="type")),
    Model("llama-longrope", "LlamaForCausalLM", "llama3", DECODER | {
        "max_position_embeddings": 1024, "rope_parameters": _LONG | {
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256, "factor": 4.0}}),
    Model("llama-bias", "LlamaForCausalLM", "llama3", DECODER | {"attention_bias": True, "mlp_bias": True}, v4=V4()),
    Model("llama-head-dim", "LlamaForCausalLM", "llama3", DECODER | {"head_dim": 32}, "float32", v4=V4()),
    Model("llama-tied", "LlamaForCausalLM", "smollm", DECODER | {"tie_word_embeddings": True}, "float32", v4=V4()),
    Model("llama-256", "LlamaForCausalLM", "gpt4o", DECODER | {"hidden_size": 256, "intermediate_size": 256, "tie_word_embeddings": True}),
    Model("mistral", "MistralForCausalLM", "llama-spm", DECODER | {"sliding_window": 255, "rope_parameters": THETA}, v4=V4()),
    Model("mistral-tekken", "MistralForCausalLM", "tekken", DECODER | {"head_dim": 32, "sliding_window": None}, v4=V4()),
    Model("ministral3", "Ministral3ForCausalLM", "tekken", DECODER | {"head_dim": 32, "rope_parameters": _MINISTRAL_YARN}),
    Model("mistral3", "Mistral3ForConditionalGeneration", "tekken", {
        "text_config": DECODER | {"model_type": "mistral", "head_dim": 32, "rope_parameters": THETA | {"rope_theta": 1e6}},
        "vision_config": {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                          "num_attention_heads": 2, "image_size": 16, "patch_size": 4}}, v4=V4()),
    Model("mixtral", "MixtralForCausalLM", "llama-spm", DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}, v4=V4()),
    Model("qwen2", "Qwen2ForCausalLM", "qwen2", DECODER | {"tie_word_embeddings": True}, v4=V4(drop=("layer_types",))),
    Model("qwen2-window", "Qwen2ForCausalLM", "qwen2", DECODER | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
          "float16", v4=V4(drop=("layer_types",))),
    Model("qwen3", "Qwen3ForCausalLM", "qwen2", DECODER | {"head_dim": 32, "rope_parameters": THETA | {"rope_theta": 1e6}},
          v4=V4(drop=("layer_types",))),
    Model("qwen3-yarn", "Qwen3ForCausalLM", "qwen2", DECODER | {"head_dim": 32, "rope_parameters": _YARN, "tie_word_embeddings": True},
          "float32", v4=V4(drop=("layer_types",))),
    Model("qwen3moe", "Qwen3MoeForCausalLM", "qwen2", DECODER | {
        "head_dim": 32, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}, v4=V4()),
    Model("qwen3moe-fused", "Qwen3MoeForCausalLM", "qwen2", DECODER | {
        "head_dim": 32, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True}, layout="fused"),
    Model("qwen35", "Qwen3_5ForCausalLM", "qwen35", _QWEN35, float32=_QWEN35_F32, zero_norms=True),
    Model("qwen35-mtp", "Qwen3_5ForCausalLM", "qwen35", _QWEN35, float32=_QWEN35_F32, extra=_mtp35("model."), zero_norms=True,
          add={"mtp_num_hidden_layers": 1}),
    Model("qwen35-vl", "Qwen3_5ForConditionalGeneration", "qwen35", {
        "text_config": _QWEN35 | {"tie_word_embeddings": True}, "vision_config": _QWEN35_EYE, "tie_word_embeddings": True},
        float32=_QWEN35_F32, extra=_mtp35("model.language_model."), add={"mtp_num_hidden_layers": 1}, zero_norms=True),
    Model("qwen35moe", "Qwen3_5MoeForCausalLM", "qwen35", _QWEN35_MOE, extra=_mtp35("model."), add={"mtp_num_hidden_layers": 1},
          zero_norms=True),
    Model("qwen35moe-vl", "Qwen3_5MoeForConditionalGeneration", "qwen35", {"text_config": _QWEN35_MOE, "vision_config": _QWEN35_EYE},
          extra=_mtp35("model.language_model."), add={"mtp_num_hidden_layers": 1}, zero_norms=True, layout="fused"),
    Model("gemma", "GemmaForCausalLM", "gemma", _GEMMA, zero_norms=True, v4=V4(drop=("layer_types",))),
    Model("gemma2", "Gemma2ForCausalLM", "gemma", _GEMMA | {"sliding_window": 8, "query_pre_attn_scalar": 32}, zero_norms=True,
          v4=V4(drop=("layer_types", "use_bidirectional_attention"))),
    Model("gemma3", "Gemma3ForCausalLM", "gemma", _GEMMA3 | {"rope_parameters": _GEMMA3_ROPE, "query_pre_attn_scalar": 32}, zero_norms=True,
          v4=_GEMMA3_V4),
    Model("gemma3-json", "Gemma3ForCausalLM", "gemma-json", _GEMMA3 | {"rope_parameters": _GEMMA3_LINEAR, "query_pre_attn_scalar": 32},
          zero_norms=True, v4=_GEMMA3_V4),
    Model("gemma3-vl", "Gemma3ForConditionalGeneration", "gemma", {
        "text_config": _GEMMA3 | {"rope_parameters": _GEMMA3_LINEAR, "query_pre_attn_scalar": 32}, "vision_config": _SIGLIP,
        "mm_tokens_per_image": 4}, zero_norms=True,
          v4=replace(_GEMMA3_V4, rename=lambda name: name.replace("vision_tower.", "vision_tower.vision_model."))),
    Model("gemma4", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True}),
    Model("gemma4-moe", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "attention_k_eq_v": True,
        "num_global_key_value_heads": 1, "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32}),
    Model("gemma4-keqv", "Gemma4ForCausalLM", "gemma4", _GEMMA4 | {
        "rope_parameters": _GEMMA4_ROPE, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "attention_k_eq_v": True,
        "num_global_key_value_heads": 1}),
    Model("gemma4-vl", "Gemma4ForConditionalGeneration", "gemma4", {
        "text_config": _GEMMA4 | {
            "layer_types": ["sliding_attention", "full_attention"] * 3, "rope_parameters": _GEMMA4_ROPE,
            "hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True},
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                          "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "position_embedding_size": 16},
        "audio_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "subsampling_conv_channels": [4, 2],
                         "output_proj_dims": 32}}),
    Model("embeddinggemma", "Gemma3TextModel", "gemma", _GEMMA3 | {
        "rope_parameters": _GEMMA3_ROPE, "query_pre_attn_scalar": 32, "use_bidirectional_attention": True}, "float32", zero_norms=True,
        pooling="mean", dense=(128, 64), embeds=True),
    Model("phi3", "Phi3ForCausalLM", "phi3", DECODER | {"sliding_window": 255, "original_max_position_embeddings": 256},
          v4=V4(add={"original_max_position_embeddings": 256})),
    Model("phi3-longrope", "Phi3ForCausalLM", "phi3", DECODER | {
        "max_position_embeddings": 1024, "original_max_position_embeddings": 256, "sliding_window": 2047, "rope_parameters": _LONG | {
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256}},
          v4=V4(add={"original_max_position_embeddings": 256}, rope_key="type")),
    Model("phi4", "Phi3ForCausalLM", "phi4", DECODER | {
        "original_max_position_embeddings": 256, "tie_word_embeddings": True, "sliding_window": None,
        "hidden_size": 128, "rope_parameters": THETA | {"partial_rotary_factor": 0.75}}, v4=V4(add={"original_max_position_embeddings": 256})),
    Model("gptoss", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN | {"truncate": True}}, v4=V4()),
    Model("gptoss-hub", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN}, v4=V4()),
    Model("gptoss-mxfp4", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN | {"truncate": True}}, mxfp4=True, v4=V4()),
    Model("deepseek2", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_key_value_heads": 4, "q_lora_rank": 32, "n_shared_experts": 2, "topk_method": "greedy", "norm_topk_prob": False,
        "routed_scaling_factor": 16.0, "rope_parameters": _DEEPSEEK_YARN},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type")),
    Model("deepseek2-group", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_key_value_heads": 4, "q_lora_rank": 32, "n_shared_experts": 2, "n_group": 2, "topk_group": 1,
        "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0, "rope_parameters": _DEEPSEEK_YARN},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type")),
    Model("deepseek2-lite", "DeepseekV2ForCausalLM", "deepseek3", _DEEPSEEK | {
        "num_hidden_layers": 27, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": None, "n_shared_experts": 1,
        "n_routed_experts": 2, "num_experts_per_tok": 1, "rope_parameters": THETA},
        v4=V4(add={"scoring_func": "softmax", "moe_layer_freq": 1}, rope_key="type")),
    Model("deepseek3", "DeepseekV3ForCausalLM", "deepseek3", _DEEPSEEK3 | {
        "rope_parameters": _DEEPSEEK_YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}}, float32=("e_score_correction_bias",), v4=_DEEPSEEK3_V4),
    Model("deepseek3-mtp", "DeepseekV3ForCausalLM", "deepseek3", _DEEPSEEK3 | {
        "rope_parameters": _DEEPSEEK_YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}, "num_mtp_layers": 1}, extra=_mtp3,
        float32=("e_score_correction_bias",), v4=_DEEPSEEK3_V4),
    Model("smollm3", "SmolLM3ForCausalLM", "llama3", DECODER | {
        "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0], "tie_word_embeddings": True, "rope_parameters": THETA | {"rope_theta": 5e6}},
        v4=V4()),
    Model("gpt2", "GPT2LMHeadModel", "gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}, "float32",
          v4=V4(add={"n_ctx": 128}, rename=lambda name: name.removeprefix("transformer."))),
    Model("gpt2-buffers", "GPT2LMHeadModel", "gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "n_inner": 128},
          v4=V4(add={"n_ctx": 32}, extra={f"transformer.h.{n}.attn.bias": (1, 1, 32, 32) for n in range(2)},
                rename=lambda name: name.removeprefix("transformer."))),
    Model("gpt2-untied", "GPT2LMHeadModel", "gpt2", {
        "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "tie_word_embeddings": False}, "float16", v4=V4(add={"n_ctx": 64})),
    Model("bert", "BertModel", "bert", _BERT, "float32", v4=V4(), pooling="mean", embeds=True),
    Model("bert-cls", "BertModel", "bert", _BERT | {"layer_norm_eps": 1e-6}, "float16", v4=V4(), pooling="cls", embeds=True),
    Model("roberta", "RobertaModel", "roberta", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(), pooling="mean", embeds=True),
    Model("xlmr", "XLMRobertaModel", "xlmr", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(), pooling="cls", embeds=True),
    Model("xlmr-json", "XLMRobertaModel", "xlmr-json", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1}, "bfloat16",
          pooling="mean", embeds=True),
)

MODELS: dict[str, Model] = {}
for _row in ROWS:
    MODELS[_row.name] = _row
    if _row.v4:
        MODELS[f"{_row.name}-v4"] = replace(_row, name=f"{_row.name}-v4", old=True)
