"""Which models an importance matrix can be made of, as data: what their classes in transformers do not say of themselves.

Everything else is found out: the layers are whatever stands at `layers`, what each is called with is recorded, and a weight
is whatever is multiplied by.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedError


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
    base       the module that embeds, runs the layers and norms; its `embed_tokens` is looked up
    layers     where its layers are
    embedding  the embedding of tokens, within `base`
    renames    (as transformers 5 calls it within a layer, as the table does)
    experts    what the table calls gate, up and down of an expert, which transformers 5 holds fused and stacked
    attention  the implementation: "eager" where the weights of attention are looked at, or where no other has them right
    """

    classes: tuple[str, ...]
    base: str = "model"
    layers: str = "layers"
    embedding: str = "embed_tokens"
    renames: tuple[tuple[str, str], ...] = ()
    experts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    attention: str = "sdpa"
    latent: Latent | None = None


FAMILIES = (
    Family(("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM",
            "Phi3ForCausalLM", "GemmaForCausalLM", "Gemma3ForCausalLM", "OlmoForCausalLM", "Olmo2ForCausalLM",
            "Starcoder2ForCausalLM", "GraniteForCausalLM")),
    Family(("Gemma2ForCausalLM",), attention="eager"),  # scores are capped
    Family(("Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM")),
    Family(("MixtralForCausalLM",), renames=(("mlp.", "block_sparse_moe."),), experts=("w1", "w3", "w2")),
    Family(("GptOssForCausalLM",), attention="eager"),  # sinks
    Family(("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"), attention="eager", latent=Latent()),
)


def family_of(name: str) -> Family:
    """The family of a class. UnsupportedError, which names those that are carried."""
    for family in FAMILIES:
        if name in family.classes:
            return family
    known = ", ".join(sorted(c.removesuffix("ForCausalLM") for family in FAMILIES for c in family.classes))
    raise UnsupportedError(f"no importance matrix can be made of {name}", hint=f"Carried are {known}. For others run "
                           "llama-imatrix on an F16 file of the model, and pass its result to --imatrix.")
