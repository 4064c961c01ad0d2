"""T5 and its relatives."""

# fmt: off
from .rows import SCORE, TOKENS, TYPE, V4, Fault, Model

_T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "relative_attention_num_buckets": 8,
       "decoder_start_token_id": 0}
_GATED = _T5 | {"feed_forward_proj": "gated-gelu"}
_NAMES = "leaves the sentinels <extra_id_N> unnamed"
_SCALE = "does not divide the decoder's output by sqrt(d_model)"
_GELU = 5e-3  # its values are larger than elsewhere, which the table of float16 rounds more coarsely
# T5 does not divide attention by the root of the head length: random queries make it follow the rounding of the table.
_CALM = {"Attention.q.weight": (-0.04, 0.04)}
_KEYS = (TOKENS, TYPE, SCORE)

_V4 = V4(drop=("feed_forward_proj", "is_gated_act", "dense_act_fn", "scale_decoder_outputs", "num_decoder_layers", "tie_word_embeddings"),
         fault=Fault(_NAMES, _SCALE, keys=_KEYS))


def _head(shapes):
    return {"lm_head.weight": shapes["shared.weight"]}


ROWS = (
    Model("t5", "T5ForConditionalGeneration", "t5", _T5 | {"n_positions": 128}, v4=_V4,
          fault=Fault(_NAMES, _SCALE, keys=_KEYS)),
    Model("t5-v11", "T5ForConditionalGeneration", "t5", _GATED | {"tie_word_embeddings": False}, "float32", extra=_head,
          tolerance=_GELU, fault=Fault(_NAMES, keys=_KEYS)),
    Model("t5-shallow", "T5ForConditionalGeneration", "t5", _T5 | {"num_decoder_layers": 1, "tie_word_embeddings": False}, "float16",
          extra=_head, fault=Fault(_NAMES, keys=_KEYS)),
    Model("mt5", "MT5ForConditionalGeneration", "t5", _T5, extra=_head, tolerance=_GELU, ranges=_CALM, fault=Fault(_NAMES, keys=_KEYS)),
    Model("umt5", "UMT5ForConditionalGeneration", "t5", _T5 | {"tie_word_embeddings": False}, extra=_head, tolerance=_GELU,
          fault=Fault(_NAMES, _SCALE, keys=_KEYS)),
    Model("t5-encoder", "T5EncoderModel", "t5", _GATED, embeds=True, tolerance=_GELU, fault=Fault(_NAMES, keys=_KEYS)),
)
