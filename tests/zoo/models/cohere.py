"""Cohere's Command-R, with norms on queries and keys from 64 blocks on, and Cohere2."""

# fmt: off
from .rows import DECODER, THETA, V4, Fault, Model

_ROTARY = Fault("KeyError: rotary_pct, which the Hub's config.json has and transformers' class has not", config={"rotary_pct": 1.0})

ROWS = (
    Model("command-r", "CohereForCausalLM", "gpt2", DECODER | {"logit_scale": 0.25, "rope_parameters": THETA | {"rope_theta": 8e6}},
          v4=V4(add={"model_max_length": 512})),
    Model("command-r-norms", "CohereForCausalLM", "gpt2", DECODER | {"num_hidden_layers": 64, "use_qk_norm": True}, "float16"),
    Model("cohere2", "Cohere2ForCausalLM", "gpt2", DECODER | {"num_hidden_layers": 4, "sliding_window": 8, "logit_scale": 0.25},
          v4=V4(drop=("layer_types", "head_dim"), add={"sliding_window_pattern": 4, "rotary_pct": 1.0}), fault=_ROTARY),
    Model("cohere2-pattern", "Cohere2ForCausalLM", "gpt2", DECODER | {
        "num_hidden_layers": 4, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}, "float16",
        fault=Fault("drops layer_types: the runtime slides all but every fourth block", config={"rotary_pct": 1.0},
                    keys=("cohere2.attention.sliding_window_pattern",))),
)
