"""EuroBERT, and Llama that looks both ways."""

# fmt: off
from .rows import DECODER, THETA, Fault, Model, tensors

_BIDIRECTIONAL = {
    "model_type": "llama_bidirec", **DECODER, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
    "attention_bias": False, "mlp_bias": False, "pooling": "avg", "torch_dtype": "bfloat16",
}
_L = "layers.{b}."
_ROWS = tensors({
    "embed_tokens.weight": "vocab_size hidden_size", "norm.weight": "hidden_size",
    _L + "input_layernorm.weight": "hidden_size", _L + "post_attention_layernorm.weight": "hidden_size",
    _L + "self_attn.q_proj.weight": "num_attention_heads*head_dim hidden_size",
    _L + "self_attn.k_proj.weight": "num_key_value_heads*head_dim hidden_size",
    _L + "self_attn.v_proj.weight": "num_key_value_heads*head_dim hidden_size",
    _L + "self_attn.o_proj.weight": "hidden_size num_attention_heads*head_dim",
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size",
})
_LATE = ("eurobert.classifier.pooling_type",)

ROWS = (
    Model("eurobert", "EuroBertModel", "eurobert", DECODER | {"rope_parameters": THETA | {"rope_theta": 250000.0}, "mask_token_id": 419},
          "float32", pooling="mean", embeds=True, fault=Fault(converter="refuses classifier_pooling late, which is the class's default",
                                                              config={"classifier_pooling": "cls"}, keys=_LATE)),
    Model("llama-embed", "LlamaBidirectionalModel", "llama3", _BIDIRECTIONAL, shapes=_ROWS, pooling="mean", embeds=True,
          fault=Fault(converter="leaves the pooling out", keys=("llama-embed.pooling_type",))),
)
