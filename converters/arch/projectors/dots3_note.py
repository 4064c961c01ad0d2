"""The towers of dots3-note: eyes of which the last blocks are mixtures of experts, a pyramid of them; and ears of Whisper's
blocks behind convolutions over the spectrum, with a gate.

Settings are the Hub's; transformers 5 has others, and reads these. Source: llama.cpp `conversion/dots3.py`; the names in the
published files.
"""

from __future__ import annotations

from .common import *

EYE, EAR = "vision_encoder.", "audio_encoder.dots_encoder.speech_encoder."
BLOCK = EYE + "blocks.{v}."
COUNT = "vision.expert_count_per_layer"
GATE = {"ffn_gate": "fc1", "ffn_up": "fc3", "ffn_down": "fc2"}


def sparse(hp: Hparams, v: int) -> bool:
    return hp[COUNT][v] > 0


def dense(hp: Hparams, v: int) -> bool:
    return not sparse(hp, v)


def nested(key: str) -> tuple[str, str]:
    """A setting of the processor's, which has those of images apart."""
    return f"processor.vision_config.{key}", f"processor.{key}"


DOTS3_NOTE = towered(
    "dots3_note", ("Dots3NoteForConditionalGeneration", "Dots3NoteForCausalLM"),
    hparams=(
        *but(seeing(epsilon=None), Const("vision.image_size", 0), H("vision.embedding_length", "vision_config.embed_dim"),
             *(H(f"vision.{key}", nested(key), F32, codec=COLOURS) for key in ("image_mean", "image_std"))),
        *hearing("audio_config.whisper_config", epsilon=None), Const(f"audio.{NORM}", 1e-6, F32),
        projector_type("dots3note_v", "vision.projector_type"), projector_type("dots3note_a", "audio.projector_type"), SILU,
        H(f"vision.{NORM}", "vision_config.rms_norm_eps", F32),
        H("vision.spatial_merge_size", "vision_config.spatial_merge_size"),
        *(H(f"vision.image_{end}_pixels", nested(f"{end}_pixels")) for end in ("min", "max")),
        Computed(COUNT, lambda c: [max(0, n) for n in c["vision_config"]["pyramid_num_routed"]],
                 "vision_config.pyramid_num_routed", lambda kv: [n or -1 for n in kv[COUNT]]),
        H("vision.expert_used_count", "vision_config.capacity_factor", codec=Codec(int, int)),
        *(Seen(f"vision_config.{key}", fact("vision.embedding_length")) for key in ("hidden_size", "adapter_in_dim")),
        Seen("vision_config.adapter_out_dim", fact("vision.projection_dim")),
        *(Fixed(f"vision_config.{key}", value, refuse=True) for key, value in {
            "adapter_type": "patch_merger", "pre_pixel_shuffle": True, "router_scoring_func": "sigmoid", "router_scale": 1.0,
            "temporal_patch_size": 1, "use_bias": False, "use_qk_norm": True}.items()),
        *(Fixed(f"audio_config.{key}", value, refuse=True) for key, value in {
            "whisper_config.activation_function": "swiglu", "use_conv2d_stem": True, "use_rope": True, "use_rms_norm": True,
            "use_causal": False, "merge_factor": 1, "chunk_seconds": 60, "rope_parameters.partial_rotary_factor": 0.5,
            "rope_parameters.rope_theta": 10000.0}.items()),
    ),
    tensors=(
        *rows("v.", EYE, {"patch_embd": "patch_embed.proj"}, type=CONV), *rows("v.", EYE, {"pre_ln": "patch_embed.norm"}),
        *rows("v.blk.{v}.", BLOCK, {"ln1": "norm_1", "attn_qkv": "attn.qkv", "attn_out": "attn.proj", "ln2": "norm_2"}),
        *(R(f"v.blk.{{v}}.attn_{x}_norm.weight", f"{BLOCK}attn.{x}_norm.weight") for x in "qk"),
        *rows("v.blk.{v}.", BLOCK + "mlp.", GATE, when=dense),
        R("v.blk.{v}.ffn_gate_inp.weight", BLOCK + "mlp.gate_weight", when=sparse, type="F32"),
        R("v.blk.{v}.exp_probs_b.weight", BLOCK + "mlp.router_bias", when=sparse, type="F32"),
        *(R(f"v.blk.{{v}}.{gguf}_exps.weight", f"{BLOCK}mlp.experts.{{e}}.{hf}.weight", when=sparse, each=COUNT)
          for gguf, hf in GATE.items()),
        *rows("mm.", EYE, {"post_norm": "post_trunk_norm", "input_norm": "adapter.ln_q", "0": "adapter.mlp.0",
                           "2": "adapter.mlp.2"}),
        *rows("a.conv2d.", EAR, {n: f"conv2d{n}" for n in "123"}, type="F32"),
        R("a.conv_out.weight", f"{EAR}conv_out.weight", type="F32"),
        *rows("a.blk.{a}.", EAR + "layers.{a}.", {x: hf for x, hf in WHISPER_BLOCK.items() if x != "ffn_up"}),
        R(("a.blk.{a}.ffn_gate.{p}", "a.blk.{a}.ffn_up.{p}"), EAR + "layers.{a}.fc1.{p}", Split((1, 1)),
          shape="2*a.inner a.width"),
        *rows("a.", EAR, {"post_ln": "layer_norm"}),
        *rows("mm.a.", "audio_encoder.audio_adapter.", {"norm_pre": "proj.0", "mlp.1": "proj.1", "mlp.3": "proj.3"}),
    ),
    shapes={
        **lengths("v.blk.{v}.", {
            "ffn_gate_inp": f"{COUNT} width", "exp_probs_b": COUNT, "ffn_gate_exps ffn_up_exps": "expert.{v} width",
            "ffn_down_exps": "width expert.{v}"}),
        **lengths("mm.", {"post_norm input_norm": "width", "0": "projected merged", "2": "text projected"}),
        **lengths("a.", {"conv2d.1": "channels 1 3 3", "conv2d.2 conv2d.3": "channels channels 3 3",
                       "conv_out": "a.width channels*bands"}),
        **lengths("mm.a.", {"norm_pre": "a.width", "mlp.1": "a.projected a.width", "mlp.3": "text a.projected"})},
    shown={"expert.{v}": Shown("of a pyramid, whose experts need not be alike")},
    text="", example="dots-studio/dots3-note-prev",
)

SPECS = (DOTS3_NOTE,)
