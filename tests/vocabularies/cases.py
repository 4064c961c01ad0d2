"""Tokenizer folders of the zoo, each with the architectures that have such a tokenizer."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggufx.converters.io.gguf import encode_header, read_gguf
from ggufx.converters.io.values import Metadata, Value, ValueType, string
from ggufx.converters.tokenizer import TokenizerResult, tokenizer_metadata
from zoo.kinds import VOCABS, vocab

# kind -> (class, architecture) pairs; the embedding is a little longer than the vocabulary, as many models have it
CLASSES: dict[str, tuple[tuple[str, str], ...]] = {
    "llama3": (("LlamaForCausalLM", "llama"), ("SmolLM3ForCausalLM", "smollm3")),
    "qwen2": (("Qwen2ForCausalLM", "qwen2"), ("Qwen3ForCausalLM", "qwen3"), ("Qwen3MoeForCausalLM", "qwen3moe")),
    "qwen35": (("Qwen3_5ForConditionalGeneration", "qwen35"), ("Qwen3_5MoeForConditionalGeneration", "qwen35moe")),
    "gpt2": (("GPT2LMHeadModel", "gpt2"),),
    "phi4": (("Phi3ForCausalLM", "phi3"),),
    "gpt4o": (("GptOssForCausalLM", "gpt-oss"),),
    "deepseek3": (("DeepseekV3ForCausalLM", "deepseek2"), ("DeepseekV2ForCausalLM", "deepseek2")),
    "tekken": (("Ministral3ForCausalLM", "mistral3"), ("Mistral3ForConditionalGeneration", "mistral3")),
    "smollm": (("LlamaForCausalLM", "llama"),),
    "roberta": (("RobertaModel", "bert"),),
    "llama-spm": (("LlamaForCausalLM", "llama"), ("MistralForCausalLM", "llama"), ("MixtralForCausalLM", "llama")),
    "llama-spm-json": (("LlamaForCausalLM", "llama"),),
    "phi3": (("Phi3ForCausalLM", "phi3"),),
    "gemma": (("GemmaForCausalLM", "gemma"), ("Gemma2ForCausalLM", "gemma2"), ("Gemma3ForCausalLM", "gemma3"),
              ("Gemma3ForConditionalGeneration", "gemma3"), ("Gemma3TextModel", "gemma-embedding")),
    "gemma-json": (("Gemma3ForCausalLM", "gemma3"),),
    "sarvam": (("SarvamMoEForCausalLM", "bailingmoe2"),),
    "gemma4": (("Gemma4ForConditionalGeneration", "gemma4"),),
    "xlmr": (("XLMRobertaModel", "bert"),),
    "xlmr-json": (("XLMRobertaModel", "bert"),),
    "bert": (("BertModel", "bert"), ("DistilBertModel", "bert"), ("NomicBertModel", "nomic-bert"), ("NeoBERT", "neo-bert"),
             ("JinaBertModel", "jina-bert-v2")),
    "bert-cased": (("BertModel", "bert"), ("DistilBertModel", "bert")),
    "bert-accents": (("BertModel", "bert"),),
    "t5": (("T5ForConditionalGeneration", "t5"),),
    "lfm2": (("Lfm2ForCausalLM", "lfm2"),),
    "modernbert": (("ModernBertModel", "modern-bert"),),
    "chameleon": (("ChameleonForConditionalGeneration", "chameleon"),),
    "eurobert": (("EuroBertModel", "eurobert"),),
    "neox": (("GPTNeoXForCausalLM", "gptneox"),),
    "mpt": (("MPTForCausalLM", "mpt"),),
    "phi2": (("PhiForCausalLM", "phi2"),),
    "codeshell": (("CodeShellForCausalLM", "codeshell"),),
    "refact": (("GPTRefactForCausalLM", "refact"),),
    "jais": (("JAISLMHeadModel", "jais"),),
    "stablelm2": (("StableLmForCausalLM", "stablelm"),),
    "glm4": (("Glm4ForCausalLM", "glm4"), ("Glm4MoeForCausalLM", "glm4moe"), ("GlmMoeDsaForCausalLM", "glm-dsa")),
    "chatglm": (("GlmForCausalLM", "chatglm"),),
    "solar": (("SolarOpenForCausalLM", "glm4moe"),),
    "llama4": (("Llama4ForCausalLM", "llama4"),),
    "minimax-m2": (("MiniMaxM2ForCausalLM", "minimax-m2"), ("MiniMaxText01ForCausalLM", "minimax-01")),
    "talkie": (("TalkieForCausalLM", "talkie"),),
    "dots3": (("Dots3NoteTextForCausalLM", "dots3note"),),
    "kimi-k2": (("KimiLinearForCausalLM", "kimi-linear"),),
}
UNPADDED = ("llama-spm-json", "gemma4")  # llama.cpp's converter does not pad these
# llama.cpp's converter takes CamemBERT's pieces for WordPiece.
assert set(CLASSES) == {kind for kind in VOCABS if vocab(kind).tokenizer} - {"camembert"}


@dataclass(frozen=True)
class Case:
    """One folder as transformers 4 or 5 writes it, for one class."""

    kind: str
    v4: bool
    hf_class: str
    arch: str

    @property
    def name(self) -> str:
        return f"{self.kind}-v{4 if self.v4 else 5}-{self.hf_class}"

    @property
    def size(self) -> int:
        return vocab(self.kind).size + (0 if self.kind in UNPADDED else 7)

    @property
    def config(self) -> dict[str, Any]:
        ids = {f"{name}_token_id": i for name, i in vocab(self.kind).ids.items() if name in ("bos", "eos", "pad")}
        return {"architectures": [self.hf_class], "vocab_size": self.size, "type_vocab_size": 2, **ids}

    def write(self, root: Path) -> Path:
        """The folder under `root`, written once."""
        folder = root / f"{self.kind}-{4 if self.v4 else 5}"
        if not folder.exists():
            folder.mkdir(parents=True)
            vocab(self.kind).write(folder, v4=self.v4)
        (folder / "config.json").write_text(json.dumps(self.config))  # read by the judges only
        return folder

    def forward(self, folder: Path) -> TokenizerResult:
        return tokenizer_metadata(folder, arch=self.arch, hf_class=self.hf_class, config=self.config,
                                  vocab_size=self.size)


CASES = [Case(kind, v4, hf_class, arch) for kind, pairs in CLASSES.items() for hf_class, arch in pairs
         for v4 in (True, False)]
FIRST = [next(case for case in CASES if case.kind == kind and case.v4 is v4) for kind in CLASSES for v4 in (True, False)]


def plain(value: Value) -> Any:
    """The data as JSON has it; float32 arrays rounded to what is stored."""
    if value.type != ValueType.ARRAY:
        return value.data
    items = [item.item() if hasattr(item, "item") else item for item in value.data]
    if value.item_type == ValueType.FLOAT32:
        items = list(struct.unpack(f"<{len(items)}f", struct.pack(f"<{len(items)}f", *items)))
    return items


def through_file(metadata: Mapping[str, Value], arch: str, path: Path) -> Metadata:
    """The key-values as they are read back from a GGUF file with a vocabulary only."""
    path.write_bytes(encode_header({"general.architecture": string(arch), **metadata}, []))
    return read_gguf(path).metadata


def write_files(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
