"""Phi-1.5 to 4."""

# fmt: off
from .rows import DECODER, GELU, LONG, SMALL, THETA, V4, Fault, Model

_MOE = DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2, "attention_bias": True, "lm_head_bias": True, "sliding_window": 2047,
                  "max_position_embeddings": 1024, "original_max_position_embeddings": 256, "rope_parameters": LONG | {
                      "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256, "factor": 4.0,
                      "short_mscale": 1.243163121016122, "long_mscale": 1.243163121016122}}
_RMS = Fault("knows another name of the class, and takes the factor on cosines and sines from the context", "norms by the root mean square",
             config={"architectures": ["PhiMoEForCausalLM"]}, keys=("phimoe.rope.scaling.attn_factor",))

ROWS = (
    Model("phi2", "PhiForCausalLM", "phi2", SMALL | {"intermediate_size": 256, "num_attention_heads": 4}, tolerance=GELU, v4=V4()),
    Model("phi3.5-moe", "PhimoeForCausalLM", "phi3", _MOE, fault=_RMS),
    Model("phi3", "Phi3ForCausalLM", "phi3", DECODER | {"sliding_window": 255, "original_max_position_embeddings": 256},
          v4=V4(add={"original_max_position_embeddings": 256})),
    Model("phi3-longrope", "Phi3ForCausalLM", "phi3", DECODER | {
        "max_position_embeddings": 1024, "original_max_position_embeddings": 256, "sliding_window": 2047, "rope_parameters": LONG | {
            "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 256}},
          v4=V4(add={"original_max_position_embeddings": 256}, rope_key="type")),
    Model("phi4", "Phi3ForCausalLM", "phi4", DECODER | {
        "original_max_position_embeddings": 256, "tie_word_embeddings": True, "sliding_window": None,
        "hidden_size": 128, "rope_parameters": THETA | {"partial_rotary_factor": 0.75}}, v4=V4(add={"original_max_position_embeddings": 256})),
)
