"""K-EXAONE, with its head for multi-token prediction."""

# fmt: off
from .rows import DECODER, THETA, Fault, Model, Shapes


def _mtp(shapes: Shapes) -> Shapes:
    """A dense layer and what joins it to the model."""
    first = "model.layers.0."
    more = {"mtp.fc.weight": (64, 128), "mtp.norm.weight": (64,),
            "mtp.pre_fc_norm_embedding.weight": (64,), "mtp.pre_fc_norm_hidden.weight": (64,)}
    return {"mtp.layers.0." + name[len(first):]: shape for name, shape in shapes.items() if name.startswith(first)} | more


_MOE = DECODER | {
    "num_hidden_layers": 4, "first_k_dense_replace": 1, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "sliding_window": 8, "rope_parameters": THETA | {"rope_theta": 1000000.0}}
_SCORING = Fault("leaves the gating out of files of configurations without scoring_func; the runtime does not load them",
                 config={"scoring_func": "sigmoid"})

ROWS = (
    Model("exaone-moe", "ExaoneMoeForCausalLM", "llama3", _MOE, float32=("e_score_correction_bias",), fault=_SCORING),
    Model("exaone-moe-mtp", "ExaoneMoeForCausalLM", "llama3", _MOE, float32=("e_score_correction_bias",), extra=_mtp,
          add={"scoring_func": "sigmoid", "num_nextn_predict_layers": 1}),
)
