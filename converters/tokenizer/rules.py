"""Peculiarities of the vocabularies of one architecture, as data: of llama.cpp's converter, and of its runtime.

Source: `set_vocab` of the classes in llama.cpp's `conversion/*.py`, and the end of `llama_vocab::impl::load`. An architecture
that is not listed has no peculiarity: its kind follows from its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Ranks:
    """What a rank file (tiktoken) leaves out: `pre`, the pre-tokenizer; the `special` tokens that follow its pieces, then
    those that are called after their ids (`reserved`), `count` in all. `ids`: what tokens are for, where no file says so.
    `every_way`: merges as transformers derives them, every way to put a piece together; otherwise one for each piece, as
    llama.cpp's converter does."""

    pre: str
    special: tuple[str, ...] = ()
    reserved: str = ""
    count: int = 0
    ids: Mapping[str, str] = field(default_factory=dict)
    every_way: bool = False

    def is_reserved(self, text: str) -> bool:
        """Whether the token only keeps an id free."""
        return bool(self.reserved) and text.startswith(self.reserved.partition("{")[0])


@dataclass(frozen=True, slots=True)
class Around:
    """What the code of a class puts around a SentencePiece model: its name for the pre-tokenizer, the texts of the first ids,
    and the control tokens that it numbers behind the pieces."""

    pre: str
    first: tuple[str, ...]
    behind: tuple[str, ...]
    note: str = ""  # what is assumed, unless the model is called `unless`
    unless: str = ""


@dataclass(frozen=True, slots=True)
class VocabRules:
    """All that is peculiar to the vocabularies of one architecture, both ways.

    Forward. `json_first`: tokenizer.json decides even where a tokenizer.model lies beside it. `json_classes`: so it does for
    these values of tokenizer_class. `by_flag`: a byte-level token that looks special is none without the flag.
    `as_written`: added tokens keep the type and the text that the files give them.
    `merges`: a BPE over U+2581 text is written with its merges (gemma4), or under the name `spaced` where it is cut as
    that name says (Sarvam). `pre`: the names that its pre-tokenizers are
    published with. `space_prefix`: `add_space_prefix` whatever the files say; `prefix_from_config`: its value in
    tokenizer_config.json, `prefix_from_model` in the SentencePiece model. `type_count`: BERT's token types. `fairseq`: a
    unigram model's pieces are renumbered. `ids` and `adds`: key-values that are always written; `by_size`: further ones for
    exactly this vocabulary size. `named`: tokens that have a role, whatever the files say, and are control, where the
    vocabulary has them. `chat_ends`: EOS is config.json's `eod_token_id`, EOT the first of several EOS of
    generation_config.json. `roles`: by pre-tokenizer, what tokens are for, by their texts, where no file says so.
    `around`: what the class's code puts around a SentencePiece model. `visible`: control tokens that the runtime shall
    print. `ranks`: what goes with a rank file. `silent`: added tokens
    without an embedding are named, so that the runtime does not choose them. `behind`: the setting of config.json that lists
    what the last rows of the embedding are, which the files have no tokens for. `untemplated`: chat templates are left out.

    Back. `lstrip`: tokens that swallow the space before them in the model's own tokenizer, with `runtime_lstrip` in the
    runtime, too. `rstrip`: a SentencePiece vocabulary's special tokens swallow the space after them, in both. `spiece`: the
    SentencePiece model is called spiece.model and belongs to the folder."""

    json_first: bool = False
    json_classes: tuple[str, ...] = ()
    as_written: bool = False
    by_flag: bool = False
    merges: bool = False
    spaced: str = ""
    pre: tuple[str, ...] = ()
    space_prefix: bool | None = None
    prefix_from_config: bool = False
    prefix_from_model: bool = False
    type_count: bool = False
    fairseq: bool = False
    ids: Mapping[str, int] = field(default_factory=dict)
    adds: Mapping[str, bool] = field(default_factory=dict)
    ranks: Ranks | None = None
    around: Around | None = None
    by_size: Mapping[int, VocabRules] = field(default_factory=dict)
    chat_ends: bool = False
    named: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    visible: frozenset[str] = frozenset()
    lstrip: tuple[str, ...] = ()
    runtime_lstrip: bool = False
    rstrip: bool = False
    spiece: bool = False
    silent: bool = False
    behind: str = ""
    untemplated: bool = False


_EXTRA = tuple(f"<|extra_{i}|>" for i in range(205))
_QWEN_RANKS = Ranks("qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *_EXTRA),
                    ids=dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>"))
_HUNYUAN_RANKS = Ranks("hunyuan", ("<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>", *_EXTRA))
_KIMI_RANKS = Ranks("kimi-k2", reserved="<|reserved_token_{}|>", count=258)
# Under the names that they have on the Hub; Meta's code calls some otherwise.
_META_RANKS = Ranks("llama-bpe", (
    "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
    "<|eot_id|>", "<|python_tag|>", *(f"<|reserved_special_token_{i}|>" for i in range(3, 248))), every_way=True)

_LLAMA = VocabRules(prefix_from_config=True, by_size={
    32016: VocabRules(ids={"eot": 32010}),      # CodeLlama's <EOT>
    49152: VocabRules(adds={"bos": False}),     # Granite's small models, SmolLM
})
_GLM = {"eos": "<|endoftext|>", "eot": "<|user|>", "unk": "<|endoftext|>"}
_GLM45 = {"bos": "[gMASK]", "eot": "<|user|>", "unk": "<|endoftext|>", "eom": "<|observation|>"}
_GLM_ROLES = {"glm4": _GLM45, "glm5": _GLM45}
_SOLAR = {"eos": "<|endoftext|>", "eot": "<|endoftext|>", "unk": "<unk>", "bos": "<|startoftext|>"}
_GLM_RANKS = Ranks("chatglm-bpe", ("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>",
                                   "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>",
                                   "<|begin_of_video|>", "<|end_of_video|>"))
_CHATGLM = Around("chatglm-spm", ("<unk>", "<bos>", "<eos>"), (
    "[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    "the tokens behind those of tokenizer.model are taken for ChatGLM3's; ChatGLM2 has none for roles", "chatglm3")
_QWEN = VocabRules(pre=("qwen2", "qwen35"))
_GEMMA4 = VocabRules(json_first=True, merges=True, space_prefix=False, adds={"bos": True}, visible=frozenset((
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')))
_BERT = VocabRules(json_first=True, type_count=True, fairseq=True, pre=("roberta-bpe",), lstrip=("<mask>",))

_PHI3 = VocabRules(json_classes=("GPT2Tokenizer",), as_written=True, pre=("dbrx", "gpt-4o"), rstrip=True)

RULES: dict[str, VocabRules] = {  # by general.architecture
    "llama": replace(_LLAMA, ranks=_META_RANKS),
    "mistral3": replace(_LLAMA, pre=("tekken",)),
    "smollm3": _LLAMA,
    "qwen2": _QWEN,
    "qwen2moe": _QWEN,
    "qwen3": _QWEN,
    "qwen3moe": _QWEN,
    "qwen2vl": _QWEN,
    "rnd1": _QWEN,
    "grovemoe": _QWEN,
    "mimo2": _QWEN,
    "smallthinker": _QWEN,
    "dream": replace(_QWEN, by_flag=True),
    "llada": VocabRules(by_flag=True, adds={"bos": True}, pre=("llama-bpe",)),
    "qwen3next": _QWEN,
    "qwen3tts": replace(_QWEN, behind="tokens_behind", untemplated=True),
    "qwen3vl": _QWEN,
    "qwen3vlmoe": _QWEN,
    "qwen35": _QWEN,
    "qwen35moe": _QWEN,
    "qwen": replace(_QWEN, ranks=_QWEN_RANKS),
    "gpt2": VocabRules(json_first=True, pre=("gpt-2",)),
    "gpt-oss": VocabRules(json_first=True, pre=("gpt-4o",)),
    "deepseek2": VocabRules(json_first=True, pre=("deepseek-v3", "deepseek-llm", "glm4", "youtu"), roles=_GLM_ROLES,
                            ranks=_KIMI_RANKS),
    "phi3": _PHI3,
    "phimoe": _PHI3,
    "gemma": VocabRules(space_prefix=False, ids={"eot": 107}),
    "gemma2": VocabRules(space_prefix=False),
    "gemma3": VocabRules(space_prefix=False),
    "gemma3n": VocabRules(space_prefix=False),
    "gemma-embedding": VocabRules(space_prefix=False),
    "gemma4": _GEMMA4,
    "gemma4-assistant": _GEMMA4,
    "bert": _BERT,
    "nomic-bert": _BERT,
    "neo-bert": _BERT,
    "jina-bert-v2": replace(_BERT, pre=("jina-v2-es",)),  # as -de and -code behave
    "nomic-bert-moe": replace(_BERT, runtime_lstrip=True),
    "jina-bert-v3": replace(_BERT, runtime_lstrip=True),
    "t5": VocabRules(spiece=True),
    "pockettts": VocabRules(adds={"bos": False, "eos": False}, behind="tokens_behind"),
    "t5encoder": VocabRules(spiece=True),
    # The rest have no peculiarity but the name that their pre-tokenizer goes by.
    "afmoe": VocabRules(pre=("afmoe",)),
    "arcee": VocabRules(pre=("llama-bpe",)),
    "bailingmoe": VocabRules(pre=("bailingmoe",)),
    "bailingmoe2": VocabRules(pre=("bailingmoe2",), spaced="sarvam-moe"),
    "bloom": VocabRules(pre=("bloom",)),
    "chameleon": VocabRules(pre=("chameleon",)),
    "chatglm": VocabRules(pre=("chatglm-bpe",), adds={"bos": False}, roles={"chatglm-bpe": _GLM}, ranks=_GLM_RANKS,
                          around=_CHATGLM),
    "codeshell": VocabRules(pre=("codeshell",)),
    "cohere2": VocabRules(pre=("command-r",)),
    "command-r": VocabRules(pre=("command-r",)),
    "dbrx": VocabRules(pre=("dbrx",)),
    "ernie4_5": VocabRules(prefix_from_config=True),
    "ernie4_5-moe": VocabRules(prefix_from_config=True),
    "deepseek": VocabRules(pre=("deepseek-llm",)),
    "deepseek2-ocr": VocabRules(pre=("deepseek-v3",)),
    "deepseek32": VocabRules(json_first=True, pre=("deepseek-v3",)),
    "paddleocr": VocabRules(prefix_from_config=True),
    "dots3note": VocabRules(pre=("qwen2",), named={"eot": "<|endofassistant|>"}),
    "exaone": VocabRules(pre=("exaone",)),
    "exaone4": VocabRules(pre=("exaone4",)),
    "falcon": VocabRules(pre=("falcon",)),
    "falcon-h1": VocabRules(pre=("falcon-h1",)),
    "glm4": VocabRules(pre=("glm4",), roles={"glm4": {**_GLM, "bos": "<|endoftext|>"}}),
    "glm5-next": VocabRules(pre=("glm4",), roles=_GLM_ROLES),
    "glm-dsa": VocabRules(pre=("glm4",), roles=_GLM_ROLES),
    "glm4moe": VocabRules(pre=("glm4", "solar-open"), roles={**_GLM_ROLES, "solar-open": _SOLAR}),
    "gptneox": VocabRules(pre=("olmo",)),
    "granite": VocabRules(pre=("refact",)),
    "granitemoe": VocabRules(pre=("refact",)),
    "grok": VocabRules(pre=("grok-2",)),
    "hunyuan-dense": VocabRules(pre=("hunyuan-dense",), chat_ends=True, ranks=_HUNYUAN_RANKS),
    "hunyuan_vl": VocabRules(pre=("hunyuan-dense",), chat_ends=True, ranks=_HUNYUAN_RANKS),
    "hy_v4": VocabRules(pre=("hy_v4",)),
    "hunyuan-moe": VocabRules(pre=("hunyuan",), ranks=replace(_HUNYUAN_RANKS, ids={"bos": "<|bos|>"})),
    "internlm2": VocabRules(as_written=True, prefix_from_model=True, named={"eos": "<|im_end|>"}),
    "jais": VocabRules(pre=("jais",)),
    "jais2": VocabRules(pre=("jais-2",)),
    "kimi-k3": VocabRules(pre=("kimi-k2",), ranks=_KIMI_RANKS),
    "kimi-linear": VocabRules(pre=("kimi-k2",), ranks=_KIMI_RANKS),
    "laguna": VocabRules(pre=("laguna",), named={"eot": "</assistant>"}),
    "lfm2": VocabRules(pre=("lfm2",)),
    "lfm2moe": VocabRules(pre=("lfm2",)),
    "llada-moe": VocabRules(pre=("llada-moe",), ids={"mask": 156895}),
    "llama4": VocabRules(pre=("llama4",)),
    "minimax-01": VocabRules(pre=("minimax-m2",), silent=True),
    "minimax-m2": VocabRules(pre=("minimax-m2",)),
    "plamo2": VocabRules(space_prefix=False),
    "plamo3": VocabRules(space_prefix=False),
    "minimax-m3": VocabRules(pre=("minimax-m2",)),
    "modern-bert": VocabRules(pre=("modern-bert",)),
    "muse-glimmer": VocabRules(pre=("llama4",), named={"eot": "<|eot|>"}),
    "mpt": VocabRules(pre=("mpt",)),
    "maincoder": VocabRules(pre=("qwen2",)),
    "mellum": VocabRules(pre=("mellum2",)),
    "nemotron_h": VocabRules(pre=("tekken",)),
    "nemotron_h_moe": VocabRules(pre=("tekken",)),
    "nemotron": VocabRules(ids={"pad": 0, "unk": 1}),
    "olmo": VocabRules(pre=("olmo",)),
    "olmo2": VocabRules(pre=("olmo",)),
    "phi2": VocabRules(pre=("phi-2",), adds={"bos": False}),
    "plm": VocabRules(pre=("qwen2",)),
    "refact": VocabRules(pre=("refact",)),
    "spark2_5": VocabRules(pre=("spark2_5",)),
    "stablelm": VocabRules(pre=("stablelm2",)),
    "starcoder": VocabRules(pre=("starcoder",)),
    "starcoder2": VocabRules(pre=("starcoder",)),
    "talkie": VocabRules(pre=("talkie",)),
}


def rules_for(arch: str) -> VocabRules:
    return RULES.get(arch, VocabRules())
