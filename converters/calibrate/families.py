"""Which models an importance matrix can be made of, as data: what their classes in transformers do not say of themselves.

Everything else is found out: the layers are whatever stands at `layers`, what each is called with is recorded, and a weight
is whatever is multiplied by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedError
from ..planners.reading import Reading


@dataclass(frozen=True)
class Latent:
    """Attention through a latent head (MLA), as llama.cpp computes it: the query goes through each head's key projection, the
    weighted latent through its value projection. `query`: modules whose output is the query, the first that is there;
    `norm`: the module that gives the latent; `up`: the fused projection out of it; all within `attention`."""

    attention: str = "self_attn"
    query: tuple[str, ...] = ("q_b_proj", "q_proj")
    norm: str = "kv_a_layernorm"
    up: str = "kv_b_proj"


@dataclass(frozen=True)
class Family:
    """Causal language models of transformers that are run layer by layer.

    classes    of the text part
    base       the module that embeds, runs the layers and norms
    stem       what the table calls it, if not so
    layers     where its layers are
    embeddings looked up by token, within `base`: those of them that it has
    renames    (how a name within a layer, or within `base`, begins in transformers 5, and in the table); of several for one
               name the one that the checkpoint has
    experts    what the table calls gate, up and down of an expert, which transformers 5 holds fused and stacked
    attention  the implementation: "eager" where the weights of attention are looked at, or where no other has them right
    joined     (parameter within a layer, what the table calls the weights whose rows it holds one after another)
    scaled     (beginning of parameters' names within a layer, setting): what they are multiplied by has the setting in it, by
               which llama.cpp multiplies the weights or the results
    takes      (times, settings): so many times the product of the settings is how many numbers a layer takes for each token
               besides what its weights tell, measured
    pairs      a layer gives something beside hidden states
    handed     as what a layer is called with what the one in front of it gives beside hidden states
    """

    classes: tuple[str, ...]
    base: str = "model"
    stem: str | None = None
    layers: str = "layers"
    embeddings: tuple[str, ...] = ("embed_tokens",)
    renames: tuple[tuple[str, str], ...] = ()
    experts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    attention: str = "sdpa"
    joined: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scaled: tuple[tuple[str, str], ...] = ()
    takes: tuple[int, tuple[str, ...]] = (0, ())
    pairs: bool = False
    handed: str = ""
    latent: Latent | None = None


_MIXTRAL = ("w1", "w3", "w2")
_LATENT: dict[str, Any] = {"attention": "eager", "latent": Latent()}
_SCAN: dict[str, Any] = {"takes": (12, ("mamba_n_heads", "mamba_d_state"))}
_GPT2: dict[str, Any] = {"base": "transformer", "layers": "h"}

_MAMBA: dict[str, Any] = {"base": "backbone", "embeddings": ("embeddings",), "attention": "eager"}  # which has no other
_GRANITE = (("block_sparse_moe.experts.gate_up_proj", "block_sparse_moe.input_linear.weight"),
            ("block_sparse_moe.experts.down_proj", "block_sparse_moe.output_linear.weight"),
            ("block_sparse_moe.router.", "block_sparse_moe.router.layer."))

FAMILIES = (
    Family((
        "ApertusForCausalLM", "ArceeForCausalLM", "BitNetForCausalLM", "Cohere2ForCausalLM", "CohereForCausalLM",
        "Ernie4_5ForCausalLM", "Exaone4ForCausalLM", "Gemma3ForCausalLM", "GemmaForCausalLM", "Glm4ForCausalLM",
        "GlmForCausalLM", "GraniteForCausalLM", "HunYuanDenseV1ForCausalLM", "Jais2ForCausalLM", "Lfm2ForCausalLM",
        "LlamaForCausalLM", "MiniCPM3ForCausalLM", "Ministral3ForCausalLM", "MistralForCausalLM", "NemotronForCausalLM",
        "Olmo2ForCausalLM", "Olmo3ForCausalLM", "OlmoForCausalLM", "Phi3ForCausalLM", "PhiForCausalLM", "Qwen2ForCausalLM",
        "Qwen3ForCausalLM", "Qwen3_5ForCausalLM", "SeedOssForCausalLM", "SmolLM3ForCausalLM", "StableLmForCausalLM",
        "Starcoder2ForCausalLM")),
    Family((
        "AfmoeForCausalLM", "Cohere2MoeForCausalLM", "Dots1ForCausalLM", "Glm4MoeForCausalLM", "HunYuanMoEV1ForCausalLM",
        "MellumForCausalLM", "OlmoeForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM",
        "Qwen3_5MoeForCausalLM", "SolarOpenForCausalLM")),
    Family(("Llama4ForCausalLM",), takes=(5, ("num_local_experts", "intermediate_size"))),  # each expert sees all tokens
    Family(("Gemma2ForCausalLM",), attention="eager"),  # scores are capped
    Family(("Gemma3nForCausalLM", "Gemma4ForCausalLM"), embeddings=("embed_tokens", "embed_tokens_per_layer")),
    Family(("GptOssForCausalLM", "GraniteMoeSWAForCausalLM", "GraniteSWAForCausalLM"), attention="eager"),  # sinks
    Family(("MiMoV2FlashForCausalLM",), renames=(("self_attn.sinks", "self_attn.attention_sink_bias"),), attention="eager",
           scaled=(("self_attn.o_proj.", "attention_value_scale"),)),
    # Experts and routers under other names
    Family(("MixtralForCausalLM", "MiniMaxM2ForCausalLM"), renames=(("mlp.", "block_sparse_moe."),), experts=_MIXTRAL),
    Family(("Lfm2MoeForCausalLM",), experts=_MIXTRAL),
    Family(("Ernie4_5_MoeForCausalLM",), renames=(("mlp.gate.moe_statics.", "mlp.moe_statics."),)),
    Family(("ExaoneMoeForCausalLM",), renames=(("mlp.gate.e_score_correction_bias", "mlp.e_score_correction_bias"),)),
    Family(("HYV3ForCausalLM",), renames=(
        ("mlp.gate.", "mlp.router.gate."), ("mlp.e_score_correction_bias", "mlp.expert_bias"),
        ("mlp.shared_experts.", "mlp.shared_mlp."))),
    Family(("LagunaForCausalLM",), renames=(
        ("mlp.gate.e_score_correction_bias", "mlp.experts.e_score_correction_bias"),
        ("mlp.shared_experts.", "mlp.shared_expert."))),
    Family(("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"), renames=_GRANITE),
    # Elsewhere in the model
    Family(("EuroBertModel", "Gemma3TextModel"), base=""),
    Family(("MuseGlimmerForConditionalGeneration",), base="model.language_model"),
    # Latent heads
    Family(("DeepseekV2ForCausalLM", "DeepseekV32ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM",
            "YoutuForCausalLM"), **_LATENT),
    Family(("GlmMoeDsaForCausalLM",), **_LATENT, handed="prev_topk_indices"),
    Family(("KimiLinearForCausalLM",), renames=(
        *((f"self_attn.forget_gate.{name}", f"self_attn.{name}") for name in ("f_a_proj", "f_b_proj", "dt_bias", "A_log")),
        ("mlp.", "block_sparse_moe.")), experts=_MIXTRAL, **_LATENT,
        joined=(("self_attn.conv1d.weight", tuple(f"self_attn.{part}_conv1d.weight" for part in "qkv")),)),
    Family(("DeepseekV4ForCausalLM",), stem="", experts=_MIXTRAL, attention="eager", renames=(
        ("embed_tokens.", "embed."), ("hc_head.hc_", "hc_head_"), ("attn_hc.", "hc_attn_"), ("ffn_hc.", "hc_ffn_"),
        ("input_layernorm.", "attn_norm."), ("post_attention_layernorm.", "ffn_norm."),
        ("self_attn.compressor.indexer.scorer.weights_proj.", "attn.indexer.weights_proj."),
        ("self_attn.compressor.indexer.q_b_proj.", "attn.indexer.wq_b."),
        *((f"self_attn.compressor.{indexer}{name}", f"attn.{indexer}compressor.{its}") for indexer in ("indexer.", "")
          for name, its in (("position_bias", "ape"), ("kv_proj.", "wkv."), ("gate_proj.", "wgate."), ("kv_norm.", "norm."))),
        *((f"self_attn.{name}", f"attn.{its}") for name, its in (
            ("sinks", "attn_sink"), ("q_a_proj.", "wq_a."), ("q_a_norm.", "q_norm."), ("q_b_proj.", "wq_b."),
            ("kv_proj.", "wkv."), ("o_a_proj.", "wo_a."), ("o_b_proj.", "wo_b."), ("kv_norm.", "kv_norm."),
            ("kv_norm.", "norm."))),
        ("mlp.gate.e_score_correction_bias", "ffn.gate.bias"), ("mlp.shared_experts.gate_proj.", "ffn.shared_experts.w1."),
        ("mlp.shared_experts.up_proj.", "ffn.shared_experts.w3."), ("mlp.shared_experts.down_proj.", "ffn.shared_experts.w2."),
        ("mlp.", "ffn."))),
    # State spaces
    Family(("BambaForCausalLM",), **_SCAN, pairs=True),
    Family(("GraniteMoeHybridForCausalLM",), **_SCAN, renames=_GRANITE),
    Family(("FalconH1ForCausalLM",), **_SCAN, scaled=(
        *((f"self_attn.{part}_proj.", "attention_in_multiplier") for part in "qkv"), ("mamba.in_proj.", "ssm_in_multiplier"))),
    Family(("NemotronHForCausalLM",), stem="backbone", embeddings=("embeddings",),
           takes=(12, ("mamba_num_heads", "ssm_state_size"))),
    Family(("Mamba2ForCausalLM",), **_MAMBA, takes=(12, ("num_heads", "state_size"))),
    Family(("FalconMambaForCausalLM", "MambaForCausalLM"), **_MAMBA, takes=(3, ("intermediate_size", "state_size"))),
    Family(("JambaForCausalLM",), takes=(3, ("mamba_expand", "hidden_size", "mamba_d_state"))),
    # What came before Llama
    Family(("BloomForCausalLM",), **_GPT2, embeddings=("word_embeddings",), attention="eager"),
    Family(("FalconForCausalLM",), **_GPT2, embeddings=("word_embeddings",)),
    Family(("GPT2LMHeadModel", "GPTBigCodeForCausalLM"), **_GPT2, embeddings=("wte",)),
    Family(("GPTNeoXForCausalLM",), base="gpt_neox", embeddings=("embed_in",)),
    Family(("MptForCausalLM",), base="transformer", layers="blocks", embeddings=("wte",), attention="eager"),
)


_OTHERWISE, _NOT_YET = "llama.cpp computes it otherwise than transformers", "its layers are not run one by one yet"
_EOS = "its texts end with EOS, which llama-imatrix does not take either"
_ENCODERS = ("Bert", "DistilBert", "ModernBert", "Roberta", "XLMRoberta")
REFUSED = {  # why, where transformers has the class
    **dict.fromkeys(("HYV4ForCausalLM", "PhimoeForCausalLM"), _OTHERWISE),
    **dict.fromkeys(("ChameleonForConditionalGeneration", "DbrxForCausalLM", "Glm5NextForConditionalGeneration",
                     "HrmTextForCausalLM", "Qwen4ExpForCausalLM"), _NOT_YET),
    **dict.fromkeys((*(f"{name}{end}" for name in _ENCODERS for end in ("Model", "ForSequenceClassification")),
                     "CamembertModel", "ModernBertForMaskedLM", "NomicBertModel", "MT5ForConditionalGeneration",
                     "T5EncoderModel", "T5ForConditionalGeneration", "UMT5ForConditionalGeneration"), _EOS),
}
CARRIED = {name: family for family in FAMILIES for name in family.classes}


def text_class(reading: Reading) -> str:
    """The class whose model computes a checkpoint's text: of a whole that of its text part, of names for one model the one that
    is carried."""
    if reading.spec.whole:
        return reading.spec.whole.text.classes[0]
    names = (reading.hf_class, *(() if reading.spec.draft else reading.spec.classes))
    return next((name for name in names if name in CARRIED), reading.hf_class)


def family_of(name: str) -> Family:
    """The family of a class. UnsupportedError, which says why there is none and what to do instead."""
    if name not in CARRIED:
        reason = REFUSED.get(name, "transformers has no such class, or one that is not carried")
        raise UnsupportedError(f"no importance matrix can be made of {name}: {reason}",
                               hint="The README's table says of which classes one can. Of many others llama-imatrix makes one "
                               "of an F16 file, for --imatrix.")
    return CARRIED[name]
