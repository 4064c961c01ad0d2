"""Jina's encoders, version 2 in its two spellings, and version 3."""

# fmt: off
from .rows import GELU, Fault, Model, tensors

_V2 = {
    "model_type": "bert", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128, "layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_act": "gelu",
    "position_embedding_type": "alibi", "feed_forward_type": "geglu", "emb_pooler": "mean", "torch_dtype": "float32",
}
_B = "encoder.layer.{b}."


def _pairs(*names: str, of: str = "hidden_size") -> dict[str, str]:
    return {f"{name}.{part}": of for name in names for part in ("weight", "bias")}


def _linear(*names: str, shape: str = "hidden_size hidden_size") -> dict[str, str]:
    return {f"{name}.weight": shape for name in names} | {f"{name}.bias": shape.split()[0] for name in names}


_COMMON = {
    "embeddings.word_embeddings.weight": "vocab_size hidden_size",
    "embeddings.token_type_embeddings.weight": "type_vocab_size hidden_size",
} | _pairs("embeddings.LayerNorm", _B + "attention.output.LayerNorm") | _linear(
    _B + "attention.self.query", _B + "attention.self.key", _B + "attention.self.value", _B + "attention.output.dense", "pooler.dense")
_PLAIN = _COMMON | {_B + "mlp.gated_layers.weight": "2*intermediate_size hidden_size"} | _pairs(_B + "mlp.layernorm") | _linear(
    _B + "mlp.wo", shape="hidden_size intermediate_size")
_POST = _COMMON | {_B + "mlp.up_gated_layer.weight": "2*intermediate_size hidden_size"} | _pairs(
    _B + "layer_norm_1", _B + "layer_norm_2", _B + "attention.self.layer_norm_q", _B + "attention.self.layer_norm_k") | _linear(
    _B + "mlp.down_layer", shape="hidden_size intermediate_size")

_TASKS = ["retrieval.query", "separation", "text-matching"]
_V3 = {
    "model_type": "xlm-roberta", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 130, "layer_norm_eps": 1e-5, "type_vocab_size": 1, "hidden_act": "gelu",
    "position_embedding_type": "rotary", "rotary_emb_base": 20000.0, "lora_adaptations": _TASKS, "lora_alpha": 1, "lora_rank": 4,
    "torch_dtype": "bfloat16",
}
_L = "roberta.encoder.layers.{b}."


def _table(name: str, rows: str) -> dict[str, str]:
    return {f"{name}.parametrizations.weight.original": f"{rows} hidden_size",
            f"{name}.parametrizations.weight.0.lora_A": f"len(lora_adaptations) {rows} lora_rank",
            f"{name}.parametrizations.weight.0.lora_B": "len(lora_adaptations) lora_rank hidden_size"}


def _adapted(name: str, rows: str, columns: str) -> dict[str, str]:
    found = {f"{name}.parametrizations.weight.original": f"{rows} {columns}",
             f"{name}.parametrizations.weight.0.lora_A": f"len(lora_adaptations) lora_rank {columns}",
             f"{name}.parametrizations.weight.0.lora_B": f"len(lora_adaptations) {rows} lora_rank"}
    return found | {f"{name}.bias": rows}


_THREE = (
    _pairs("roberta.emb_ln", _L + "norm1", _L + "norm2")
    | _table("roberta.embeddings.word_embeddings", "vocab_size") | _table("roberta.embeddings.token_type_embeddings", "type_vocab_size")
    | _adapted(_L + "mixer.Wqkv", "3*hidden_size", "hidden_size") | _adapted(_L + "mixer.out_proj", "hidden_size", "hidden_size")
    | _adapted(_L + "mlp.fc1", "intermediate_size", "hidden_size") | _adapted(_L + "mlp.fc2", "hidden_size", "intermediate_size")
    | _adapted("roberta.pooler.dense", "hidden_size", "hidden_size")
)
ROWS = (
    Model("jina-bert-v2", "JinaBertModel", "bert", _V2, "float32", shapes=tensors(_PLAIN), pooling="mean", embeds=True, tolerance=GELU),
    Model("jina-bert-v2-code", "JinaBertModel", "roberta", _V2, "float32", shapes=tensors(_POST), pooling="mean", embeds=True,
          tolerance=GELU, fault=Fault(converter="is told RoBERTa's pre-tokenizer", keys=("tokenizer.ggml.pre",))),
    Model("jina-bert-v3", "XLMRobertaModel", "xlmr-json", _V3, "bfloat16", shapes=tensors(_THREE), pooling="mean", embeds=True,
          tolerance=GELU),
)
