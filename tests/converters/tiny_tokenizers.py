"""Small real tokenizers of every kind, trained here on a few thousand words, in folders as tools write them."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

HARD = [
    "Hello world", " leading space", "  two spaces", "tail ", "a   b    c", "tab\tand\nnewline\n\nblank\r\n", "",
    " ", "   ", "\n", "caf\u00e9 cafe\u0301 naïve", "re\u0301sume\u0301", "😀 👨\u200d👩\u200d👧 ✅",
    "1 22 333 4444 55555 3.14159 1e-10", "def f(x):\n    return x ** 2  # ok", "I'll don't THEY'RE it's",
    "日本語の文字 中文", "Привет мир", "مرحبا", "camelCase HTTPServer snake_case", "\u3000wide\u00a0nbsp",
    "<s>not special?</s>", "e-mail@example.com http://x.y/z?q=1", "!!! ... --- ***", "½ ² Ⅷ",
]
_WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
    which one you were all her she there would their we him been has when who will no more if out so tokenizer special
    vocabulary merges spaces Hello world return def class import number model weights café naïve straße привет мир
    日本語 中文 مرحبا don't it's they're 12 345 2024 3.14 x=1 f(x) a[i] 😀"""
_SYLLABLES = "ka to mi ren sol bar quin the ing tion er pre con ment able ly un ter pho gra"


def corpus() -> list[str]:
    """The same few thousand sentences each time, in several scripts."""
    rng = random.Random(7)
    words = _WORDS.split()
    words += ["".join(rng.choices(_SYLLABLES.split(), k=rng.randint(2, 4))) for _ in range(400)]
    return [" ".join(rng.choices(words, k=rng.randint(3, 14))) + rng.choice([".", "!", "\n", "  ", "?"])
            for _ in range(1500)]


def split(regex: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BYTE_LEVEL_GPT2 = {**BYTE_LEVEL, "use_regex": True}


def sequence(*steps: dict) -> dict:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def set_part(tokenizer, **parts):
    """A copy of a `tokenizers.Tokenizer` with parts of its JSON replaced."""
    from tokenizers import Tokenizer

    data = json.loads(tokenizer.to_str())
    for key, value in parts.items():
        if key == "model":
            data["model"].update(value)
        else:
            data[key] = value
    return Tokenizer.from_str(json.dumps(data))


def byte_level(pre_tokenizer: dict, special: list[str], size: int = 600, **parts):
    """A trained byte-level BPE; `special` gets the first ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = set_part(Tokenizer(models.BPE()), pre_tokenizer=pre_tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus(), trainer)
    return set_part(tokenizer, **parts)


def template(tokenizer, single: str, pair: str, *names: str):
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])
    return tokenizer


def sentencepiece(model_type: str, size: int = 500, **options) -> bytes:
    """A trained SentencePiece model."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line.strip() for line in corpus()]), model_writer=out, model_type=model_type,
        vocab_size=size, minloglevel=2, num_threads=1, **options)
    return out.getvalue()


def write(folder: Path, files: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False),
                              encoding="utf-8")
    return folder
