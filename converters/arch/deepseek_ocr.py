"""DeepSeek-OCR, its second version and Baidu's Unlimited-OCR: the text part, DeepSeek-V2's experts behind plain attention.

The class is a language model that also looks: the text part has its name, and its settings stand at the top as well.
Source: DeepSeek's `modeling_deepseekocr.py`, `modeling_deepseekv2.py`; llama.cpp `src/models/deepseek2ocr.cpp`,
`conversion/deepseek.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .deepseek import HEAD, LATENT_SIZES, MOE, SHARED_EXPERTS, V2_ROUTING, dense, sparse
from .dots import own_heads
from .qwen import ATTN, FFN

OCR_TEXT = ArchSpec(
    "deepseek2-ocr", ("DeepseekOCRForCausalLM",), "deepseek_vl_v2",
    hparams=(
        *SHAPE, RMS_EPS, TIED, SILU, VOCAB_SIZE, VOCAB_ROWS, *without(MOE, "routed_scaling_factor"), *V2_ROUTING,
        Computed("attention.head_count_kv", own_heads, "num_key_value_heads", lambda kv: kv["attention.head_count_kv"]),
        H("expert_weights_scale", "routed_scaling_factor", F32, need=False), H("rope.freq_base", "rope_theta", F32, need=False),
        Fixed("rope_theta", 10000.0, refuse=True), H("rope.dimension_count", "qk_rope_head_dim"),
        H("attention.sliding_window", ("sliding_window_size", "sliding_window"), need=False),
        Note("the runtime attends to all tokens, whatever the sliding window", lambda c: c.get("sliding_window_size")),
        Fixed("use_mla", False, refuse=True), Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *where(dense, *FFN),
             *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS), *OUT_NORM, *HEAD),
    defaults={**DECODER_DEFAULTS, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "first_k_dense_replace": 0,
              "norm_topk_prob": False, "topk_method": "greedy", "qk_rope_head_dim": 0, "n_shared_experts": 2},
    sizes={**LATENT_SIZES, **SIZES}, absent="what the class sees with is not in the file", example="deepseek-ai/DeepSeek-OCR",
)
PARTS = dict.fromkeys(("model.sam_model.", "model.vision_model.", "model.qwen2_model.", "model.projector.",
                       "model.image_newline", "model.view_seperator"))
OCR = Whole("DeepseekOCRForCausalLM", "deepseek_vl_v2", OCR_TEXT, (), PARTS, example="deepseek-ai/DeepSeek-OCR")
UNLIMITED_OCR = replace(OCR, name="UnlimitedOCRForCausalLM", example="baidu/Unlimited-OCR")
OCR2 = replace(OCR, name="DeepseekOCR2ForCausalLM", example="deepseek-ai/DeepSeek-OCR-2")

BACK = {"deepseek2-ocr": choice(OCR_TEXT)}
SPECS = (OCR, UNLIMITED_OCR, OCR2)
