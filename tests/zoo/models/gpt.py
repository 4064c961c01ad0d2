"""GPT-2 and gpt-oss."""

# fmt: off
from .rows import DECODER, GELU, V4, Fault, Model

_GPT_OSS_YARN = {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                 "original_max_position_embeddings": 64}

_N_CTX = "reads n_ctx, which configurations of transformers 5 do not have"
_BUFFERS = "meets the mask buffer attn.bias, as in openai-community/gpt2, and fails; writes 4 * n_embd whatever n_inner says"
_TRUNCATE = Fault(runtime="always rounds yarn's correction range to whole dimensions, as truncate: true asks")
_LOST_TRUNCATE = "without ggufx's keys yarn's truncate is false, as published"

ROWS = (
    Model("gptoss", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN | {"truncate": True}}, v4=V4(), lost=_LOST_TRUNCATE),
    Model("gptoss-hub", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN}, v4=V4(fault=_TRUNCATE), fault=_TRUNCATE),
    Model("gptoss-mxfp4", "GptOssForCausalLM", "gpt4o", DECODER | {
        "head_dim": 32, "intermediate_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
        "rope_parameters": _GPT_OSS_YARN | {"truncate": True}}, mxfp4=True, v4=V4(), lost=_LOST_TRUNCATE),
    Model("gpt2", "GPT2LMHeadModel", "gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}, "float32",
          v4=V4(add={"n_ctx": 128}, rename=lambda name: name.removeprefix("transformer.")),
          tolerance=GELU, fault=Fault(_N_CTX, config={"n_ctx": 128})),
    Model("gpt2-buffers", "GPT2LMHeadModel", "gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "n_inner": 128},
          v4=V4(add={"n_ctx": 32}, extra={f"transformer.h.{n}.attn.bias": (1, 1, 32, 32) for n in range(2)},
                rename=lambda name: name.removeprefix("transformer."), fault=Fault(_BUFFERS, drop=".attn.bias", keys=("gpt2.feed_forward_length",))),
          tolerance=GELU, fault=Fault(_BUFFERS, config={"n_ctx": 32}, keys=("gpt2.feed_forward_length",))),
    Model("gpt2-untied", "GPT2LMHeadModel", "gpt2", {
        "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "tie_word_embeddings": False}, "float16", v4=V4(add={"n_ctx": 64}),
          tolerance=GELU, fault=Fault(_N_CTX, config={"n_ctx": 64})),
)
