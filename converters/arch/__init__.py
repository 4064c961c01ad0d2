"""The registry of architectures. A new architecture is one table in this package and one line in `FAMILIES`.

A family's module holds `SPECS`, its tables and the classes that hold more than text, and `BACK`: which table reads the
files of a GGUF name, where several share it.

May import `errors`, `rules` and `arch.projectors`: a key of a text model may say where features of images go.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import UnsupportedError
from ..rules.facts import GgufFacts
from ..rules.hf_config import architecture_of
from ..rules.spec import ArchSpec, Choice, Whole
from . import (
    afmoe,
    apertus,
    arcee,
    arctic,
    baichuan,
    bailing,
    bert,
    bitnet,
    bloom,
    chameleon,
    codeshell,
    cogvlm,
    cohere,
    cohere2moe,
    dbrx,
    deci,
    deepseek,
    deepseek4,
    deepseek_ocr,
    diffusion,
    dots,
    dots3_note,
    drafts,
    ernie,
    eurobert,
    exaone,
    exaone_moe,
    falcon,
    falcon_h1,
    gemma,
    gemma3n,
    gemma4,
    gemma4_assistant,
    glm,
    glm5_next,
    gpt,
    gptneox,
    granite,
    granite_swa,
    granite_switch,
    granitehybrid,
    grok,
    grovemoe,
    hrm_text,
    hunyuan,
    hy_v4,
    internlm,
    internvl,
    jais,
    jamba,
    jina_bert,
    kimi_k3,
    kimi_linear,
    laguna,
    lfm2,
    llama,
    llama4,
    llama_like,
    mamba,
    mellum,
    mimo,
    minicpm,
    minimax,
    modern_bert,
    mpt,
    multimodal,
    muse_glimmer,
    nemotron,
    nemotron_h,
    neobert,
    nomic_bert,
    olmo,
    openelm,
    orion,
    phi,
    plamo,
    plm,
    pocket_tts,
    qwen,
    qwen1,
    qwen2moe,
    qwen3next,
    qwen3tts,
    qwen4exp,
    qwen35,
    qwenvl,
    refact,
    rugpt3xl,
    rwkv,
    seed_oss,
    smallthinker,
    stablelm,
    starcoder,
    step,
    t5,
    talkie,
    wavtokenizer,
    xverse,
)  # fmt: skip
from .refused import WHY

FAMILIES = (llama, qwen, qwen2moe, qwen35, gemma, gemma4, phi, gpt, bert, deepseek, bloom, t5, mamba, falcon_h1, arcee,
            seed_oss, exaone, lfm2, cohere, granite, olmo, falcon, gptneox, starcoder, orion, stablelm, nemotron, mpt,
            baichuan, xverse, internlm, jamba, qwen1, ernie, glm, qwenvl, qwen3next, modern_bert, nomic_bert, jina_bert,
            granitehybrid, nemotron_h, llama4, afmoe, exaone_moe, minimax, multimodal, internvl, eurobert, neobert, hunyuan,
            dots, cohere2moe, diffusion, rwkv, cogvlm, codeshell, refact, jais, openelm, deci, mellum, llama_like, plm,
            granite_swa, rugpt3xl, hrm_text, laguna, plamo, bailing, minicpm, gemma3n, dbrx, smallthinker, apertus, mimo,
            arctic, grovemoe, chameleon, grok, kimi_linear, talkie, step, hy_v4, glm5_next, deepseek_ocr, drafts,
            gemma4_assistant, dots3_note, kimi_k3, bitnet, muse_glimmer, wavtokenizer, pocket_tts, deepseek4, granite_switch,
            qwen3tts, qwen4exp)
SPECS: tuple[ArchSpec, ...] = tuple(spec.as_spec() if isinstance(spec, Whole) else spec
                                    for family in FAMILIES for spec in family.SPECS)


def _by_class(specs: tuple[ArchSpec, ...]) -> dict[str, tuple[ArchSpec, ...]]:
    """The tables of each HF class: one, or several that tell by the config which of them fits."""
    out: dict[str, tuple[ArchSpec, ...]] = {}
    for spec in specs:
        for name in spec.classes:
            out[name] = (*out.get(name, ()), spec)
    for name, tables in out.items():
        if len(tables) > 1 and any(spec.fits is None for spec in tables):
            raise AssertionError(f"{name} is in two tables")
    for spec in specs:
        for rule in spec.tensors:
            if rule.stacked and (len(rule.hf) != 1 or len(rule.gguf) != 1):
                raise AssertionError(f"{spec.name}: {rule.hf[0]} stacks experts, so it is one name on each side")
            if rule.stack is not None and rule.stack not in spec.stacks:
                raise AssertionError(f"{spec.name}: {rule.gguf[0]} counts blocks of a stack that the table does not declare")
    return out


def _by_name(specs: tuple[ArchSpec, ...]) -> dict[str, Choice]:
    """The table of each GGUF name, or what chooses it."""
    out = {name: choice for family in FAMILIES for name, choice in getattr(family, "BACK", {}).items()}
    for name in {spec.name for spec in specs} - set(out):
        text = [spec for spec in specs if spec.name == name and spec.whole is None]
        if len(text) != 1:
            raise AssertionError(f"{name} is in several tables, or none of its own: its family says in BACK which reads it")
        out[name] = Choice(text[0])
    return out


BY_CLASS = _by_class(SPECS)
BY_NAME = _by_name(SPECS)


def class_of(config: Mapping[str, Any], file: str) -> str:
    """The class of a config.json. Where it names none, that of its model_type, as transformers' AutoModelForCausalLM does."""
    if config.get("architectures"):
        return architecture_of(config, file)
    classes = {spec.classes[0] for spec in SPECS if spec.model_type == config.get("model_type") and not spec.draft}
    return classes.pop() if len(classes) == 1 else architecture_of(config, file)


def for_config(config: Mapping[str, Any], file: str) -> ArchSpec:
    """The table for a config.json, by its class. UnsupportedError names one of the same model, if there is one."""
    hf_class = class_of(config, file)
    if hf_class not in BY_CLASS:
        why = f": {WHY[hf_class]}" if hf_class in WHY else ""
        raise UnsupportedError(f"architecture {hf_class!r} is not supported{why}", file=file, found=hf_class,
                               hint=_nearest(hf_class, BY_CLASS))
    tables = BY_CLASS[hf_class]
    for spec in tables:
        if spec.fits is None or spec.fits(dict(config)):
            return spec
    raise UnsupportedError(f"no table of {hf_class} fits the settings", file=file)


def for_gguf(arch: str, facts: GgufFacts, file: str) -> ArchSpec:
    """The table for a GGUF file, by general.architecture and what the file holds."""
    if arch not in BY_NAME:
        raise UnsupportedError(f"architecture {arch!r} is not supported", file=file, found=arch,
                               hint=_nearest(arch, BY_NAME))
    return BY_NAME[arch].of(facts.telling())


def is_draft(arch: str) -> bool:
    """Whether files of this name hold draft models."""
    return arch in BY_NAME and BY_NAME[arch].default.draft


def _nearest(name: str, known: Collection[str]) -> str:
    """A hint: a supported name of the same model, where it is only written otherwise or has another head. A name that
    merely looks alike would lead nowhere: models are made by others, not mistyped."""
    same = next((k for k in known if _stem(k) == _stem(name)), None)
    return (f"The same model is supported as {same}. " if same else "") + "`ggufx archs` lists all."


def _stem(name: str) -> str:
    """What of a class or architecture name says which model it is: `qwen3moe` of `Qwen3MoeForCausalLM`, `qwen3-moe`."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(For[A-Z].*|Text|LMHead)?(Model)?$", "", name).lower())
