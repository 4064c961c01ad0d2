"""The model that a draft model guesses for: its target, of which the file of a draft holds the tokenizer and some settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import arch
from ..errors import GgufxError, InputError, UnsupportedError, UsageError
from ..io.tensors import StoredTensor
from ..io.tokenizer_names import SENTENCEPIECE
from ..rules.facts import Config
from ..rules.hf_config import canonical
from ..rules.match import HfMatches
from ..rules.spec import ArchSpec
from ..sources.hf_folder import config_only
from ..tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from .kept_tensors import read_tensor

TOKENS = "d2t"  # in both formats: the target's token for each of the draft's
HEAD = "lm_head.weight"
MASK = "mask_embedding.pt"


@dataclass(frozen=True)
class Target:
    """A target's folder, of which no weights are read. `config`: canonical, of its text part."""

    folder: Path
    spec: ArchSpec
    hf_class: str
    config: Config

    @property
    def vocab_size(self) -> int:
        return self.config.get("vocab_size", 0)


def read_target(folder: Path) -> Target:
    """config.json of a target. InputError or UnsupportedError where its class is not known."""
    file = f"{folder}/config.json"
    config = config_only(folder)
    spec = arch.for_config(config, file)
    return Target(folder, spec, arch.class_of(config, file), canonical(config, spec, file))


def of_draft(folder: Path, spec: ArchSpec, target: Target | None) -> Target:
    """The target of the draft in `folder`. UsageError where none was given, UnsupportedError for a draft that is in parts."""
    if target is None:
        raise UsageError(f"is a draft model ({spec.classes[0]}), which takes its tokenizer from the model that it guesses for",
                         file=folder, hint="Give --target: a folder (config.json and tokenizer files are enough) or a Hub id.")
    if (folder / MASK).exists():
        raise UnsupportedError("the embedding of the mask token stands in a file of its own; it is not put into the target's",
                               file=folder / MASK)
    return target


def tokens_of_target(target: Target, folder: Path, config: Config, pre: str | None) -> TokenizerResult:
    """The tokenizer of the draft in `folder`: its target's, as a file of that one has it."""
    tokens = tokenizer_metadata(target.folder, arch=target.spec.name, hf_class=target.hf_class, config=target.config,
                                vocab_size=config.get("vocab_size", target.vocab_size), pre=pre)
    if any((folder / name).exists() for name in ("tokenizer.json", SENTENCEPIECE)):
        tokens.notes.insert(0, "the tokenizer beside the draft is not read")
    tokens.notes.insert(0, f"the tokenizer is that of the target, {target.hf_class}; it does not come back with the draft")
    return tokens


def check_draft_tokens(found: HfMatches, tensors: Mapping[str, StoredTensor], target: Target,
                       problems: list[GgufxError]) -> None:
    """Whether each token of a draft with a vocabulary of its own is another one of the target's, and has a row of the head."""
    head = tensors.get(found.names.get(HEAD, ""))
    rows = tensors[found.names[TOKENS]].shape[:1] if TOKENS in found.names else (target.vocab_size,)
    if head is not None and head.shape[:1] != rows:
        problems.append(InputError("has not a row for each token" + ("" if TOKENS in found.names else
                                   ", and there is no d2t to say which of the target's they are"), file=head.file,
                                   tensor=head.name, expected=f"{rows[0]} rows", found=list(head.shape)))
    if TOKENS not in found.names:
        return
    tensor = tensors[found.names[TOKENS]]
    if tensor.type != "I64" or len(tensor.shape) != 1:
        problems.append(InputError("must be a list of whole numbers", file=tensor.file, tensor=tensor.name, expected="I64 [n]",
                                   found=f"{tensor.type} {list(tensor.shape)}"))
        return
    ids = read_tensor(tensor).view("<i8") + np.arange(tensor.shape[0])
    outside = ids[(ids < 0) | (ids >= target.vocab_size)]
    if outside.size:
        problems.append(InputError("names a token that the target does not have", file=tensor.file, tensor=tensor.name,
                                   expected=f"ids below {target.vocab_size}", found=int(outside[0]),
                                   hint="Is this the target that the draft was trained for?"))
    elif np.unique(ids).size < ids.size:
        problems.append(InputError("names a token of the target twice", file=tensor.file, tensor=tensor.name))
