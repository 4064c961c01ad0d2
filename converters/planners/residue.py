"""What a converted file carries of its checkpoint in key-values of ggufx's own, so that the way back is exact."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from ..io.values import Metadata, string
from ..sources.names import PREFIXES
from ..sources.packed.tensor import PackedTensor
from ..sources.quantized import FILES
from ..tokenizer.own_keys import residue as tokenizer_own_keys
from ..tokenizer.own_keys import residue_with_template
from ..tokenizer.to_gguf import TokenizerResult
from .kept_tensors import keep
from .original_packing import record
from .own_keys import Source, json_value, kept_bytes
from .packed_sources import stored_of
from .packed_zeros import NotSeen, NoWayBack
from .reading import Reading

NO_WAY_BACK = "gguf-to-hf will make floats of this file: {}"


def residue(reading: Reading, tokens: TokenizerResult, repacked: Mapping[str, str], texts: tuple[str, ...],
            other_template: bool, folder: Path) -> dict[bool, Metadata]:
    """ggufx's own key-values; of files whose weights are `repacked` (the type each GGUF tensor is repacked into) under True.
    `other_template`: it is not the folder's. `folder`: where the texts are."""
    checkpoint, found = reading.checkpoint, reading.found
    types = [t.type for t in checkpoint.tensors.values()]
    main = max(dict.fromkeys(types), key=types.count)
    source = Source(dtype=main, dtypes={n: t.type for n, t in checkpoint.tensors.items() if t.type != main})
    source.record_names(found.names, (*reading.spec.aliases, *PREFIXES))
    first_choice: dict[str, str] = {}
    for rule in reading.spec.tensors:
        for made in rule.gguf:
            first_choice.setdefault(str(made), str(rule.hf[0]))
    source.layouts = sorted({str(m.rule.hf[0]) for m in found.matches for made in m.rule.gguf
                             if first_choice[str(made)] != str(m.rule.hf[0])})
    source.hf_class = reading.hf_class if reading.asked_class or not checkpoint.config.get("architectures") else ""
    source.decoded = list(dict.fromkeys(t.form for t in checkpoint.tensors.values() if isinstance(t, PackedTensor)))
    kept = keep(checkpoint.tensors, found, source, reading.notes)
    index = folder / "model.safetensors.index.json"
    if not source.decoded and not checkpoint.made:
        source.record_files(checkpoint.tensors, index)
    files: Metadata = {}
    for text in texts:
        with suppress(InputError):  # said where its settings are looked for
            files |= json_value(folder, text, checkpoint.made)
    if tokens.metadata and not reading.spec.draft and not reading.spec.wordless:
        files |= (residue_with_template if other_template else tokenizer_own_keys)(tokens.source, tokens.metadata)
    own = {False: {"ggufx.source": string(source.to_value()), **files, **kept}}
    if not repacked:
        return own
    if checkpoint.made:  # its files, and the order of its rows, are not those that come back
        reading.notes.append(NO_WAY_BACK.format("its weights were stored under other names and in another order"))
        return own | {True: own[False]}
    packing: Metadata = {}
    try:
        packing = record(reading, repacked, source, sum(len(kept_bytes(value)) for value in kept.values()))
    except NoWayBack as why:
        reading.notes.append(NO_WAY_BACK.format(why))
    except NotSeen as why:
        reading.notes.append(f"whether gguf-to-hf makes the same files of this file again is not known yet: {why}")
    if source.packed:
        stored = [part for t in checkpoint.tensors.values() for part in stored_of(t)]
        source.record_files({t.name: t for t in (*stored, *checkpoint.beside.values())}, index)
        for name in FILES:
            packing |= json_value(checkpoint.folder, name)
    return own | {True: {"ggufx.source": string(source.to_value()), **files, **kept, **packing}}
