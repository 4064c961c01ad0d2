"""Which matrices are recorded of llama-imatrix (scripts/golden/imatrix.py), and what our own must be made with to be the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "imatrix"
CORPUS = Path(__file__).with_name("corpus.txt")
TEXT = "corpus.txt"
CONTEXT = 64


@dataclass(frozen=True)
class Case:
    """`flags` of llama-imatrix, `options`: fields of our TextOptions that mean the same; `context`: tokens of a chunk. The text: the
    corpus, so often, with `control` at the end of each line."""

    model: str
    flags: tuple[str, ...] = ("--chunks", "4")
    options: tuple[tuple[str, int | bool], ...] = (("chunks", 4),)
    control: str = ""
    repeats: int = 4
    context: int = CONTEXT


MODELS = ("llama", "llama-256", "mistral", "mixtral", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma", "gemma2", "gemma3", "phi3",
          "phi3-longrope", "gptoss", "deepseek2", "deepseek3", "olmo", "olmo2", "olmoe", "smollm3", "starcoder2", "granite",
          "apertus", "arcee", "bitnet", "command-r", "cohere2", "ernie", "exaone4", "glm4", "glm", "hunyuan", "jais2", "lfm2",
          "minicpm3", "ministral3", "nemotron", "olmo3", "phi2", "qwen35", "seedoss", "stablelm", "afmoe", "cohere2moe", "dots",
          "glm4moe", "hunyuan-moe", "jamba", "llama4", "mellum", "qwen3next", "qwen35moe", "solar", "gemma4",
          "gemma4-moe", "mimo2", "minimax-m2", "lfm2moe", "ernie-moe", "exaone-moe", "hy3", "laguna", "granitemoe",
          "granite-h-moe", "granitemoeshared", "granite-swa", "granitemoe-swa", "embeddinggemma", "eurobert", "deepseek32", "glm4lite", "youtu", "glmdsa-shared",
          "kimi-linear", "bamba", "falcon-h1", "falcon-mamba", "mamba", "mamba2", "nemotron-h-moe", "bloom", "falcon", "gpt2",
          "starcoder", "gptneox", "mpt")
WHOLES = ("qwen35-vl", "qwen35moe-vl", "gemma4-vl", "gemma3n-vl", "llama4-vl", "glm4v", "glm4vmoe", "glmocr", "exaone4-5", "hunyuan-vl",
          "lfm2vl", "minicpmv", "muse")
CASES = {name: Case(name) for name in MODELS} | {
    "every-chunk": Case("qwen3", (), (), repeats=1),
    "later-chunks": Case("mixtral", ("--chunk", "2", "--chunks", "3"), (("skip", 2), ("chunks", 3))),
    "special": Case("qwen2", ("--parse-special", "--chunks", "4"), (("special", True), ("chunks", 4)), "<|im_start|>"),
    "qwen3omni": Case("qwen3omni"),
    "qwen3vlmoe": Case("qwen3vlmoe"),  # the whole model's class lays experts out in another way than its text part's
    "internvl-chat": Case("internvl-chat"),
    "qwen2vl": Case("qwen2vl"),
    "kimivl": Case("kimivl"),
    **{name: Case(name) for name in WHOLES},
    # of no more blocks than are chosen: scores of tiny models are often 0, and which of equal ones are chosen nobody says
    "deepseek4": Case("deepseek4", ("--chunks", "8"), (("chunks", 8),), context=32),
    "deepseek4-v4": Case("deepseek4-v4", ("--chunks", "8"), (("chunks", 8),), context=32),
    "control-as-text": Case("qwen2", control="<|im_start|>"),
}
MERGED = ("mixtral", "later-chunks")
SHOWN = ("qwen3moe", "gemma3")


def text_of(case: Case) -> str:
    """A newline ends it, which llama-imatrix does not read."""
    return (CORPUS.read_text() * case.repeats).replace("\n", case.control + "\n") + "\n"
