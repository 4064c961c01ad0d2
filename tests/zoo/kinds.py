"""The kinds of tokenizers in the zoo: which constructor of vocab.py and spm.py, with which tokens, under which name."""

from collections.abc import Callable
from functools import cache

from .spm import CAMEMBERT_HEAD, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, pocket, spm_bpe, t5, unigram
from .vocab import Vocab, added, byte_level, byte_level_step, plamo, rwkv, split, wordpiece

_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(suffix: str, digits: str) -> str:
    """Words that end where a capital follows, each with `suffix`, or `digits`, or the rest."""
    start, tail = r"[^\r\n\p{L}\p{N}]?", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return f"{start}{_UPPER}*{_LOWER}+{suffix}|{start}{_UPPER}+{_LOWER}*{suffix}|{digits}{tail}"


LLAMA3 = _SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _TAIL
QWEN2 = _SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
QWEN35 = _SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = _cased(_SHORT + "?", r"\p{N}{1,3}")
TEKKEN = _cased("", r"\p{N}")
_HAN = r"&&[^\p{Han}]]"
KIMI_K2 = r"[\p{Han}]+|" + GPT4O.replace(_UPPER, _UPPER[:-1] + _HAN).replace(_LOWER, _LOWER[:-1] + _HAN).replace(r"[\r\n/]", r"[\r\n]")
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)

CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
LLAMA_CHAT = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
TOOLS = "{% for t in tools %}{{ t | tojson }}\n{% endfor %}" + CHAT


def _sequence(*steps: dict) -> dict:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _regexes(*patterns: str) -> dict:
    return _sequence(*split(*patterns), byte_level_step())


def _llama3(kind: str = "llama3", pre: str = "llama-bpe", **more: str) -> Vocab:
    after = (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|finetune_right_pad_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    )
    return byte_level(
        kind,
        pre,
        _regexes(LLAMA3),
        after=after,
        ignore_merges=True,
        first=("<|begin_of_text|>",),
        roles={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>", **more},
        config={"tokenizer_class": "PreTrainedTokenizerFast"},
        templates={"default": LLAMA_CHAT},
    )


def _qwen(kind: str, pre: str, pattern: str, tokenizer_class: str, templates: dict[str, str], nfc: bool = True,
          more: tuple[str, ...] = ()) -> Vocab:
    return byte_level(
        kind,
        pre,
        _regexes(pattern),
        normalizer={"type": "NFC"} if nfc else None,
        after=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", *more),
        plain=(
            "<tool_call>",
            "</tool_call>",
            "<|fim_prefix|>",
            "<|fim_middle|>",
            "<|fim_suffix|>",
            "<|fim_pad|>",
            "<think>",
            "</think>",
        ),
        roles={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        templates=templates,
        config={
            "tokenizer_class": tokenizer_class,
            "add_bos_token": False,
            "add_prefix_space": False,
            "bos_token": None,
            "unk_token": None,
            "errors": "replace",
            "split_special_tokens": False,
        },
    )


def _gpt2(kind: str = "gpt2", pre: str = "gpt-2", tokenizer_class: str = "GPT2Tokenizer", normalizer: dict | None = None) -> Vocab:
    end = "<|endoftext|>"
    return byte_level(
        kind,
        pre,
        byte_level_step(regex=True),
        normalizer=normalizer,
        after=(end,),
        roles={"bos_token": end, "eos_token": end, "unk_token": end},
        config={"tokenizer_class": tokenizer_class, "add_prefix_space": False},
    )


def _phi4() -> Vocab:
    return byte_level(
        "phi4",
        "dbrx",
        _regexes(LLAMA3),
        after=("<|endoftext|>", "<|fim_prefix|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"),
        roles={
            "bos_token": "<|endoftext|>",
            "eos_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
        config={"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False},
        templates={"default": CHAT},
    )


def _gpt4o(kind: str = "gpt4o", pre: str = "gpt-4o", pattern: str = GPT4O) -> Vocab:
    after = (
        "<|startoftext|>",
        "<|endoftext|>",
        "<|return|>",
        "<|constrain|>",
        "<|channel|>",
        "<|start|>",
        "<|end|>",
        "<|message|>",
        "<|call|>",
    )
    return byte_level(
        kind,
        pre,
        _regexes(pattern),
        after=after,
        roles={"bos_token": "<|startoftext|>", "eos_token": "<|return|>", "pad_token": "<|endoftext|>"},
        config={"tokenizer_class": "PreTrainedTokenizerFast"},
        templates={"default": CHAT},
    )


def _deepseek3() -> Vocab:
    before = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>")
    return byte_level(
        "deepseek3",
        "deepseek-v3",
        _regexes(*DEEPSEEK3),
        before=before,
        after=("<｜fim▁hole｜>",),
        plain=("<｜User｜>", "<｜Assistant｜>", "<think>"),
        first=before[:1],
        templates={"default": LLAMA_CHAT},
        roles={"bos_token": before[0], "eos_token": before[1], "pad_token": before[2]},
        config={"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False, "legacy": True},
    )


def _glm4(pre: str) -> Vocab:
    end = "<|endoftext|>"
    roles = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
    return byte_level(
        pre,
        pre,
        _regexes(LLAMA3),
        after=(end, "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", *roles),
        roles={"eos_token": end, "pad_token": end},
        config={"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "unk_token": None},
        templates={"default": CHAT},
    )


def _solar() -> Vocab:
    return byte_level(
        "solar",
        "solar-open",
        _regexes(QWEN2),
        after=("<unk>", "<|startoftext|>", "<|endoftext|>", "<|pad|>"),
        roles={"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<unk>", "pad_token": "<|pad|>"},
        config={"tokenizer_class": "PreTrainedTokenizerFast"},
        templates={"default": CHAT},
    )


def _tekken() -> Vocab:
    before = (
        "<unk>",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "[AVAILABLE_TOOLS]",
        "[TOOL_CALLS]",
        "<pad>",
        "<SPECIAL_8>",
        "<SPECIAL_9>",
    )
    return byte_level(
        "tekken",
        "tekken",
        _regexes(TEKKEN),
        before=before,
        first=("<s>",),
        ignore_merges=True,
        templates={"default": LLAMA_CHAT},
        roles={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        config={"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, "add_eos_token": False},
    )


def _smollm(kind: str = "smollm", pre: str = "smollm") -> Vocab:
    before = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>")
    return byte_level(
        kind,
        pre,
        _sequence({"type": "Digits", "individual_digits": True}, byte_level_step(regex=True)),
        before=before,
        roles={
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>",
        },
        config={"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False},
        templates={"default": CHAT, "tool_use": TOOLS},
    )


def _roberta() -> Vocab:
    return byte_level(
        "roberta",
        "roberta-bpe",
        byte_level_step(regex=True),
        before=("<s>", "<pad>", "</s>", "<unk>"),
        after=("<mask>",),
        roberta=True,
        roles={
            "bos_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "cls_token": "<s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        config={"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, "trim_offsets": True},
    )


def _modernbert() -> Vocab:
    names = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    return byte_level(
        "modernbert",
        "modern-bert",
        byte_level_step(regex=True),
        normalizer={"type": "NFC"},
        after=names,
        first=("[CLS]",),
        last=("[SEP]",),
        lstrip=("[MASK]",),
        roles={f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")},
        config={"tokenizer_class": "PreTrainedTokenizerFast"},
    )


CHAMELEON = (
    "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)


def _chameleon() -> Vocab:
    before = ("<s>", "<pad>", "</s>", "<unk>")
    return byte_level(
        "chameleon",
        "chameleon",
        _regexes(*CHAMELEON),
        before=before,
        after=("<image>",),
        first=("<s>",),
        roles={"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
        config={"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False},
    )


_LLAMA_HEAD = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
_LLAMA_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def _llama_spm(kind: str, *, style: str, with_model: bool) -> Vocab:
    return spm_bpe(
        kind,
        head=_LLAMA_HEAD,
        listed=("<unk>", "<s>", "</s>"),
        roles=_LLAMA_ROLES,
        prefix=True,
        style=style,
        first="<s>",
        with_model=with_model,
        templates={"default": LLAMA_CHAT},
        config={
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "legacy": style == "prepend",
            "sp_model_kwargs": {},
        },
    )


def _phi3() -> Vocab:
    names = ("<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>")
    return spm_bpe(
        "phi3",
        head=_LLAMA_HEAD,
        listed=("<unk>", "<s>", "</s>"),
        roles=_LLAMA_ROLES | {"eos_token": "<|endoftext|>"},
        prefix=True,
        after=tuple(added(0, name, rstrip=name != "<|endoftext|>") for name in names),
        rstrip=("</s>",),
        style="prepend",
        config={"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "add_eos_token": False, "legacy": False},
        templates={"default": CHAT},
    )


def _gemma(kind: str, *, with_model: bool) -> Vocab:
    unused = [(f"<unused{number}>", USER_DEFINED) for number in range(4)]
    blanks = [("\n" * count, USER_DEFINED) for count in range(1, 5)]
    blanks += [("▁" * count, USER_DEFINED) for count in range(2, 17)]
    tags = [("<table>", USER_DEFINED), ("</table>", USER_DEFINED), ("\t", USER_DEFINED)]
    turns = [("<start_of_turn>", CONTROL), ("<end_of_turn>", CONTROL)]
    head = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", UNKNOWN), ("<mask>", USER_DEFINED)]
    head += [*unused, *turns, *blanks, *tags]
    return spm_bpe(
        kind,
        head=head,
        listed=tuple(text for text, piece_type in head if piece_type != NORMAL),
        prefix=False,
        style="gemma",
        roles={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
        first="<bos>",
        config={
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "spaces_between_special_tokens": False,
        },
        with_model=with_model,
        templates={"default": LLAMA_CHAT},
    )


def _gemma4() -> Vocab:
    head = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", CONTROL), ("<mask>", CONTROL)]
    head += [
        ("<|turn>", CONTROL),
        ("<turn|>", CONTROL),
        ("<|channel>", CONTROL),
        ("<channel|>", CONTROL),
        ("<|tool_call>", CONTROL),
    ]
    listed = tuple(text for text, _ in head)
    head += [("\n" * count, NORMAL) for count in range(1, 5)] + [("▁" * count, NORMAL) for count in range(2, 17)]
    return spm_bpe(
        "gemma4",
        head=head,
        listed=listed,
        prefix=False,
        style="gemma",
        first="<bos>",
        with_model=False,
        pre="gemma4",
        roles={
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        config={"tokenizer_class": "GemmaTokenizer", "padding_side": "left"},
        templates={"default": LLAMA_CHAT},
    )


def _sarvam() -> Vocab:
    head = [("<pad>", CONTROL), ("<eos>", CONTROL), ("<bos>", CONTROL), ("<unk>", CONTROL), ("<mask>", CONTROL)]
    return spm_bpe(
        "sarvam", head=head, listed=tuple(text for text, _ in head), prefix=False, style="gemma", with_model=False,
        pre="sarvam-moe", config={"tokenizer_class": "PreTrainedTokenizerFast"}, templates={"default": LLAMA_CHAT},
        roles={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
    )


XLMR = {"tokenizer_class": "XLMRobertaTokenizer", "clean_up_tokenization_spaces": True}
VOCABS: dict[str, Callable[[], Vocab]] = {
    "none": lambda: Vocab("none", "", None, {}, {}, 256),  # of models that have no words
    "llama3": _llama3,
    "lfm2": lambda: _llama3("lfm2", "lfm2"),
    "eurobert": lambda: _llama3("eurobert", mask_token="<|reserved_special_token_0|>"),
    "qwen2": lambda: _qwen("qwen2", "qwen2", QWEN2, "Qwen2Tokenizer", {"default": CHAT}),
    "qwen35": lambda: _qwen("qwen35", "qwen35", QWEN35, "Qwen2Tokenizer", {"default": CHAT, "tool_use": TOOLS}),
    "dots3": lambda: _qwen("dots3", "qwen2", QWEN2, "Qwen2Tokenizer", {"default": CHAT}, more=("<|endofassistant|>",)),
    "gpt2": _gpt2,
    "neox": lambda: _gpt2("neox", "olmo", "PreTrainedTokenizerFast", {"type": "NFC"}),
    "mpt": lambda: _gpt2("mpt", "mpt", "PreTrainedTokenizerFast", {"type": "NFC"}),
    "jais": lambda: _gpt2("jais", "jais", "PreTrainedTokenizerFast"),
    "phi2": lambda: _gpt2("phi2", "phi-2", "CodeGenTokenizer"),
    "stablelm2": lambda: _qwen("stablelm2", "stablelm2", QWEN2, "PreTrainedTokenizerFast", {"default": CHAT}, nfc=False),
    "phi4": _phi4,
    "gpt4o": _gpt4o,
    "llama4": lambda: _gpt4o("llama4", "llama4"),
    "minimax-m2": lambda: _gpt4o("minimax-m2", "minimax-m2"),
    "talkie": lambda: _gpt4o("talkie", "talkie"),
    "kimi-k2": lambda: _gpt4o("kimi-k2", "kimi-k2", KIMI_K2),
    "deepseek3": _deepseek3,
    "glm4": lambda: _glm4("glm4"),
    "chatglm": lambda: _glm4("chatglm-bpe"),
    "solar": _solar,
    "tekken": _tekken,
    "smollm": _smollm,
    "codeshell": lambda: _smollm("codeshell", "codeshell"),
    "refact": lambda: _smollm("refact", "refact"),
    "roberta": _roberta,
    "modernbert": _modernbert,
    "chameleon": _chameleon,
    "llama-spm": lambda: _llama_spm("llama-spm", style="prepend", with_model=True),
    "llama-spm-json": lambda: _llama_spm("llama-spm-json", style="metaspace", with_model=False),
    "phi3": _phi3,
    "gemma": lambda: _gemma("gemma", with_model=True),
    "gemma-json": lambda: _gemma("gemma-json", with_model=False),
    "gemma4": _gemma4,
    "sarvam": _sarvam,
    "xlmr": lambda: unigram("xlmr", with_model=True, config=XLMR),
    "xlmr-json": lambda: unigram("xlmr-json", with_model=False, config=XLMR),
    "camembert": lambda: unigram("camembert", with_model=True, head=CAMEMBERT_HEAD, config={"tokenizer_class": "CamembertTokenizer"}),
    "t5": lambda: t5("t5"),
    "pocket": lambda: pocket("pocket"),
    "rwkv": lambda: rwkv("rwkv"),
    "plamo2": lambda: plamo("plamo2"),
    "bert": lambda: wordpiece(
        "bert",
        config={
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
        },
    ),
    "bert-cased": lambda: wordpiece(
        "bert-cased", lowercase=False, config={"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    ),
    "bert-accents": lambda: wordpiece(
        "bert-accents", strip_accents=False,
        config={"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False},
    ),
}


@cache
def vocab(kind: str) -> Vocab:
    """The tokenizer of one kind; built once per process."""
    return VOCABS[kind]()


def sample_ids(kind: str, count: int = 48) -> list[int]:
    """Ordinary token ids, the same on every call, for comparing what two runtimes compute."""
    return [(17 * n * n + 29 * n + 11) % (vocab(kind).size - 40) + 20 for n in range(count)]
