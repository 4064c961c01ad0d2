"""What llama.cpp's converter does for one architecture's vocabulary and not for others, as data.

Source: `set_vocab` of the classes in llama.cpp's `conversion/*.py`. An architecture that is not listed has no
peculiarity: its kind follows from its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class VocabRules:
    """`json_first`: tokenizer.json decides even where a tokenizer.model lies beside it. `json_classes`: so it does for
    these values of tokenizer_class. `as_written`: added tokens keep the type and the text that the files give them.
    `merges`: a BPE over U+2581 text is written with its merges (gemma4). `pre`: names preferred among those that behave
    alike. `space_prefix`: `add_space_prefix` whatever the files say; `prefix_from_config`: its value in
    tokenizer_config.json. `type_count`: BERT's token types. `ids` and `adds`: key-values that are always written;
    `by_size`: further ones for exactly this vocabulary size. `visible`: control tokens that the runtime shall print."""

    json_first: bool = False
    json_classes: tuple[str, ...] = ()
    as_written: bool = False
    merges: bool = False
    pre: tuple[str, ...] = ()
    space_prefix: bool | None = None
    prefix_from_config: bool = False
    type_count: bool = False
    fairseq: bool = False
    ids: Mapping[str, int] = field(default_factory=dict)
    adds: Mapping[str, bool] = field(default_factory=dict)
    by_size: Mapping[int, VocabRules] = field(default_factory=dict)
    visible: frozenset[str] = frozenset()


_LLAMA = VocabRules(prefix_from_config=True, by_size={
    32016: VocabRules(ids={"eot": 32010}),      # CodeLlama's <EOT>
    49152: VocabRules(adds={"bos": False}),     # Granite's small models, SmolLM
})
_QWEN = VocabRules(pre=("qwen2", "qwen35"))
_BERT = VocabRules(json_first=True, type_count=True, fairseq=True, pre=("roberta-bpe",))

RULES: dict[str, VocabRules] = {
    "llama": _LLAMA,
    "mistral3": _LLAMA,
    "smollm3": _LLAMA,
    "qwen2": _QWEN,
    "qwen2moe": _QWEN,
    "qwen3": _QWEN,
    "qwen3moe": _QWEN,
    "qwen3next": _QWEN,
    "qwen35": _QWEN,
    "qwen35moe": _QWEN,
    "gpt2": VocabRules(json_first=True, pre=("gpt-2",)),
    "gpt-oss": VocabRules(json_first=True, pre=("gpt-4o",)),
    "deepseek2": VocabRules(json_first=True, pre=("deepseek-v3", "deepseek-llm")),
    "phi3": VocabRules(json_classes=("GPT2Tokenizer",), as_written=True, pre=("dbrx", "gpt-4o")),
    "gemma": VocabRules(space_prefix=False, ids={"eot": 107}),
    "gemma2": VocabRules(space_prefix=False),
    "gemma3": VocabRules(space_prefix=False),
    "gemma-embedding": VocabRules(space_prefix=False),
    "gemma4": VocabRules(json_first=True, merges=True, space_prefix=False, adds={"bos": True}, visible=frozenset((
        "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'))),
    "bert": _BERT,
}


# Architectures without any peculiarity but the name that their pre-tokenizer goes by.
PRE_NAMES: dict[str, tuple[str, ...]] = {
    "afmoe": ("afmoe",), "arcee": ("llama-bpe",), "bailingmoe": ("bailingmoe",), "bailingmoe2": ("bailingmoe2",),
    "bloom": ("bloom",), "chameleon": ("chameleon",), "chatglm": ("chatglm-bpe",), "codeshell": ("codeshell",),
    "cohere2": ("command-r",), "command-r": ("command-r",), "dbrx": ("dbrx",), "exaone": ("exaone",),
    "exaone4": ("exaone4",), "falcon": ("falcon",), "falcon-h1": ("falcon-h1",), "glm4": ("glm4",),
    "glm4moe": ("glm4",), "gptneox": ("olmo",), "granite": ("refact",), "granitemoe": ("refact",), "grok": ("grok-2",),
    "hunyuan-dense": ("hunyuan-dense",), "hunyuan-moe": ("hunyuan",), "jais": ("jais",), "jais2": ("jais-2",),
    "kimi-linear": ("kimi-k2",), "laguna": ("laguna",), "lfm2": ("lfm2",), "lfm2moe": ("lfm2",),
    "llada-moe": ("llada-moe",), "llama4": ("llama4",), "minimax-m2": ("minimax-m2",), "modern-bert": ("modern-bert",),
    "mpt": ("mpt",), "olmo": ("olmo",), "olmo2": ("olmo",), "phi2": ("phi-2",), "plm": ("qwen2",),
    "refact": ("refact",), "stablelm": ("stablelm2",), "starcoder": ("starcoder",), "starcoder2": ("starcoder",),
}


def rules_for(arch: str) -> VocabRules:
    return RULES.get(arch) or VocabRules(pre=PRE_NAMES.get(arch, ()))
