"""Nomic BERT, dense and as a mixture."""

# fmt: off
from .rows import GELU, Fault, Model, tensors

_NOMIC = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 2048}
_HUB = {
    "model_type": "nomic_bert", "n_embd": 64, "n_head": 4, "n_inner": 96, "n_layer": 2, "n_positions": 8192,
    "max_trained_positions": 2048, "layer_norm_epsilon": 1e-12, "type_vocab_size": 2, "activation_function": "swiglu",
    "prenorm": False, "causal": False, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
    "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None, "torch_dtype": "float32",
}
_MOE = _HUB | {
    "n_layer": 4, "n_positions": 2048, "activation_function": "gelu", "qkv_proj_bias": True, "mlp_fc1_bias": True,
    "mlp_fc2_bias": True, "rotary_emb_base": 10000.0, "num_experts": 4, "moe_top_k": 2, "moe_every_n_layers": 2,
    "moe_normalize_expert_weights": False, "num_shared_experts": 0, "type_vocab_size": 1, "layer_norm_epsilon": 1e-5,
}
_LAYER = "encoder.layers.{b}."
_ROWS = {
    "embeddings.word_embeddings.weight": "vocab_size n_embd",
    "embeddings.token_type_embeddings.weight": "type_vocab_size n_embd",
    "emb_ln.weight": "n_embd", "emb_ln.bias": "n_embd",
    _LAYER + "norm1.weight": "n_embd", _LAYER + "norm1.bias": "n_embd",
    _LAYER + "norm2.weight": "n_embd", _LAYER + "norm2.bias": "n_embd",
    _LAYER + "attn.Wqkv.weight": "3*n_embd n_embd", _LAYER + "attn.out_proj.weight": "n_embd n_embd",
}
_dense = tensors(_ROWS | {
    _LAYER + "mlp.fc11.weight": "n_inner n_embd", _LAYER + "mlp.fc12.weight": "n_inner n_embd",
    _LAYER + "mlp.fc2.weight": "n_embd n_inner"}, b="n_layer")
_biased = tensors(_ROWS | {_LAYER + "attn.Wqkv.bias": "3*n_embd", _LAYER + "attn.out_proj.bias": "n_embd"}, b="n_layer")
_plain = tensors({
    _LAYER + "mlp.fc1.weight": "n_inner n_embd", _LAYER + "mlp.fc1.bias": "n_inner",
    _LAYER + "mlp.fc2.weight": "n_embd n_inner", _LAYER + "mlp.fc2.bias": "n_embd"}, b="range(0,n_layer,2)")
_mixed = tensors({
    _LAYER + "mlp.router.layer.weight": "num_experts n_embd", _LAYER + "mlp.experts.bias": "n_embd",
    _LAYER + "mlp.experts.mlp.w1": "num_experts*n_inner n_embd",
    _LAYER + "mlp.experts.mlp.w2": "num_experts*n_inner n_embd"}, b="range(1,n_layer,2)")
_V5 = Fault(converter="takes transformers 5's defaults for sizes that the Hub spells otherwise", config={"model_type": "hub"})

ROWS = (
    Model("nomic-bert", "NomicBertModel", "bert", _NOMIC, "float32", pooling="mean", embeds=True, tolerance=GELU,
          fault=Fault(converter="wants n_positions, which the configs of transformers 5 do not have")),
    Model("nomic-bert-hub", "NomicBertModel", "bert", _HUB, "float32", shapes=_dense, pooling="mean", embeds=True, fault=_V5),
    Model("nomic-bert-moe", "NomicBertModel", "xlmr-json", _MOE, "float32", shapes=lambda c: _biased(c) | _plain(c) | _mixed(c),
          pooling="mean", embeds=True, tolerance=10 * GELU, fault=_V5),  # of the adapted: what is routed follows GELU's table
)
