"""BitNet b1.58: the first models', and transformers' class."""

# fmt: off
from .rows import DECODER, LLAMA_NAMES, Fault, L, Model, tensors, without

_NAMES = tensors(without(LLAMA_NAMES, "lm_head") | {L + "self_attn.inner_attn_ln.weight": "hidden_size",
                                                    L + "mlp.ffn_layernorm.weight": "intermediate_size"})
_FIRST = DECODER | {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "input_bits": 8, "weight_bits": 1,
                    "rope_theta": 10000.0}
_WEIGHTS = tuple(f"blk.{b}.{part}.weight" for b in range(2) for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"))
_ALWAYS = Fault("makes all weights ternary, whatever config.json says, and knows no names of transformers")

ROWS = (
    Model("bitnet", "BitNetForCausalLM", "llama-spm", DECODER | {"hidden_act": "silu", "tie_word_embeddings": True}, fault=_ALWAYS),
    Model("bitnet-1", "BitnetForCausalLM", "llama-spm", _FIRST, "float16", shapes=_NAMES, lost="weights come back ternary",
          fault=Fault(keys=_WEIGHTS)),  # scales to within the last bit
)
