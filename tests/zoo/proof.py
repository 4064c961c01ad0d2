"""The whole loop on one model of the zoo, judged by transformers, peft and llama.cpp: what scripts/prove prints.

Seven questions, one function each. An answer has a figure for the table; where something is known to be beyond GGUF or
wrong in the runtime (the row's `lost` and `fault`), it says why instead of failing.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ggufx.converters.errors import GgufxError, UnsupportedError
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.rules.facts import get_path
from ggufx.converters.rules.hf_config import TEXT_CONFIGS
from ggufx.converters.rules.spec import ArchSpec
from ggufx.converters.run.execute import execute
from ggufx.converters.sources.packed.logical import open_logical
from ggufx.converters.sources.packed.tensor import PackedTensor

import ggufx

from . import peers
from .adapters import adapter_and_merged, every_weight, make_adapter, merged_by_peft
from .build import build
from .faults import RUNTIME_TOKENS
from .files import load_folder, stored, stored_bits
from .golden import table
from .kinds import sample_ids, vocab
from .models import MODELS, Model
from .packed import decoded
from .texts import HARD_TEXTS

TEXT_PART = {name for name, row in MODELS.items() if (spec := table(row)) and spec.whole}
TOKENIZER_FILES = ("tokenizer*", "rwkv_vocab*", "special_tokens_map.json", "vocab*", "*.jinja", "additional_chat_templates/*",
                   "*.model")
# Of optional kernels, of every T5 with a head, of settings that the class itself wants (PhiMoE, Hunyuan) or
# ignores (sections of text alone: Qwen3-ASR, PaddleOCR).
OTHER_WARNINGS = ("is falling back to its reference", "xIELU", "MXFP4", "so we will NOT tie them", "short_mscale", "{'alpha'}",
                  "mrope_section")
LENGTHS = (24, 17, 11, 6)  # of the texts that a classifier scores: one score alone may be next to nothing
# With fewer rows or columns torch's product has no one order: below 12 columns, or 3 rows, it rounds after multiplying and after
# adding; of one column, or 11, and from rank 8 on in another order; of 11 rows it goes by the number of threads (torch 2.13, AVX2).
NARROW = 12
ADAPTED = 10  # times the tolerance: adapters make activations larger than the base model's


@dataclass(frozen=True)
class Answer:
    """`figure` for the table, `size` where it is a number; `why`: what failed, or what is known to be otherwise."""

    ok: bool
    figure: str
    why: tuple[str, ...] = ()
    size: float | None = None


class Loop:
    """One model with the weights of one seed, and what ggufx makes of it; everything lies in the new folder `work`."""

    def __init__(self, name: str, seed: int, work: Path) -> None:
        self.name, self.seed, self.work = name, seed, work
        self.adapter: Path | None = None  # what `lora` made
        self.row: Model = MODELS[name]
        self.spec: ArchSpec = table(self.row)
        # Named by the model: general.name comes from it, by which llama.cpp knows how Phi-3 strips special tokens.
        self.folder = build(name, work / name, seed)
        self.target = beside(name, lambda other: build(other, work / other))

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        peers.forget()
        shutil.rmtree(self.work)

    @cached_property
    def own(self) -> Path:
        return self._file("own.gguf")

    @cached_property
    def own_back(self) -> Path:
        return self._back(self.own, "own")

    @cached_property
    def foreign_back(self) -> Path:
        """Through a file without any key of ggufx's own."""
        return self._back(self._file("foreign.gguf", plain=True), "foreign")

    @cached_property
    def f32(self) -> Path:
        """For the runtime: packed weights are unpacked, as it would quantise activations for them and lose more."""
        if self.row.mxfp4:
            ggufx.gguf_to_hf(self.own, self.work / "unpacked", dtype="f32")
        source = self.work / "unpacked" if self.row.mxfp4 else self.folder
        ggufx.hf_to_gguf(source, self.work / "f32.gguf", outtype="f32", **self.target)
        return self.work / "f32.gguf"

    def _file(self, name: str, **options: Any) -> Path:
        ggufx.hf_to_gguf(self.folder, self.work / name, outtype="f32" if self.row.folded else "auto", **self.target, **options)
        return self.work / name

    def _back(self, gguf: Path, name: str) -> Path:
        ggufx.gguf_to_hf(gguf, self.work / name)
        return self.work / name

    def here(self, folder: Path, adapter: Path | None = None) -> np.ndarray:
        """What transformers computes."""
        return forward(self.name, folder, adapter)

    def there(self, gguf: Path, adapter: Path | None = None) -> np.ndarray:
        """What llama.cpp computes."""
        return runtime(self.name, gguf, adapter, **self.target)


def beside(name: str, zoo: Callable[[str], Path]) -> dict[str, Path]:
    """The options that a conversion of the model `name` needs: the target of a draft."""
    return {"target": zoo(MODELS[name].target)} if MODELS[name].target else {}


def runtime(name: str, gguf: Path, adapter: Path | None = None, target: Path | None = None) -> np.ndarray:
    """Logits, embeddings, or scores, that llama.cpp computes from a file of the model `name`. `target`: the checkpoint beside
    which a draft runs."""
    row = MODELS[name]
    ids = sample_ids(row.vocab, 24)
    if target is not None:
        ggufx.hf_to_gguf(target, gguf.with_name("target.gguf"), outtype="f32", force=True)
        return peers.llama_draft(gguf, gguf.with_name("target.gguf"), ids[:8])
    if row.scores:
        return np.stack([peers.llama_scores(gguf, ids[:length], lora=adapter) for length in LENGTHS])
    return (peers.llama_embeddings if row.embeds else peers.llama_logits)(gguf, ids, lora=adapter)


def forward(name: str, folder: Path, adapter: Path | None = None) -> np.ndarray:
    """Logits, embeddings, or scores, that transformers computes for the model `name` from `folder`."""
    row, ids = MODELS[name], sample_ids(MODELS[name].vocab, 24)
    if row.scores:
        return np.stack([peers.transformers_logits(folder, ids[:length], adapter) for length in LENGTHS])
    return (peers.transformers_embeddings if row.embeds else peers.transformers_logits)(folder, ids, adapter)


def table_names(spec: ArchSpec, found: dict[str, Any]) -> dict[str, Any]:
    """The tensors under the table's spelling, without other parts of the model: what a text class has."""
    out = {}
    for name, value in found.items():
        if not name.startswith(tuple(spec.whole.parts) if spec.whole else ()):
            out[next((t + name.removeprefix(f) for f, t in spec.aliases if name.startswith(f)), name)] = value
    return out


def text_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What a multimodal class's config.json says of its text part alone."""
    of_the_whole = ("architectures", "model_type", "dtype", "torch_dtype", "tie_word_embeddings")
    inner = next((c for key in TEXT_CONFIGS if isinstance(c := get_path(config, key), dict)), config)
    return {key: value for key, value in inner.items() if key not in of_the_whole and not key.endswith("_config")}


def bits(loop: Loop) -> Answer:
    """Own files come back: every bit of every tensor, the settings, the tokenizer's files."""
    back = stored(loop.own_back)
    source, config = as_floats(loop.row, loop.folder)
    configs = [config, json.loads((loop.own_back / "config.json").read_text(encoding="utf-8"))]
    wrong = []
    if loop.name in TEXT_PART:
        source = {name: value for name, value in table_names(loop.spec, source).items() if name in back}
        if not loop.row.shapes and not np.array_equal(loop.here(loop.own_back), loop.here(loop.folder)):
            wrong.append("logits of the text part")
        if loop.spec.whole.layout:  # its class lays tensors out in another way: they must make the same file
            ggufx.hf_to_gguf(loop.own_back, loop.work / "again.gguf")
            made, first = (peers.read_peer_gguf(file).tensors for file in (loop.work / "again.gguf", loop.own))
            source = back if made == first else source
    elif configs[0] != configs[1]:
        wrong.append("config.json")
    wrong += [name for name in source.keys() | back.keys() if source.get(name) != back.get(name)]
    files = [path for pattern in TOKENIZER_FILES for path in loop.folder.glob(pattern) if path.is_file()]
    files += [path for path in (loop.folder / "generation_config.json",) if path.exists()]
    wrong += [path.name for path in files if not _same(path, loop.own_back / path.relative_to(loop.folder))]
    return Answer(not wrong and bool(back), f"{len(back)} tensors", tuple(f"{what} differs" for what in sorted(wrong)[:5]),
                  len(back))


def _same(one: Path, two: Path) -> bool:
    if not two.exists():
        return False
    a, b = one.read_bytes(), two.read_bytes()
    return a == b or (one.suffix == ".json" and json.loads(a) == json.loads(b))


def foreign(loop: Loop) -> Answer:
    """Files without ggufx's keys come back as a model that computes the same numbers."""
    if loop.row.shapes and loop.row.lost:
        return Answer(bool(load_folder(loop.foreign_back)), "-", (loop.row.lost,))
    if loop.row.shapes:
        wrong = other_values(loop.spec, loop.row, loop.folder, loop.foreign_back)
        return Answer(not wrong, f"{len(wrong)} tensors" if wrong else "equal", tuple(wrong), 0.0)
    back = loop.here(loop.foreign_back)
    if loop.row.lost:
        return Answer(bool(np.isfinite(back).all()), "-", (loop.row.lost,))
    error = peers.relative_error(back, loop.here(loop.folder))
    if loop.row.rounded:
        return Answer(error < 1e-5, "equal" if not error else f"{error:.1e}",
                      ("decays behind -exp(x) come back to within a rounding of float32",) if error else (), error)
    return Answer(error == 0, "equal" if not error else f"{error:.1e}", (), error)


def unpacked(row: Model, folder: Path) -> dict[str, Any]:
    """All torch tensors of a checkpoint; of weights in FP8 the bfloat16 that they come back as."""
    held = load_folder(folder)
    return held if not row.fp8 else {
        name: decoded(tensor).bfloat16() if isinstance(tensor, PackedTensor) else held[name]
        for name, tensor in open_logical(folder).tensors.items()}


def as_floats(row: Model, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a checkpoint, by `stored_bits`, and its config.json: as both come back of its own file."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not row.fp8:
        return stored(folder), config
    del config["quantization_config"]
    return {name: stored_bits(value) for name, value in unpacked(row, folder).items()}, config


def other_values(spec: ArchSpec, row: Model, folder: Path, rebuilt: Path) -> list[str]:
    """Tensors of a checkpoint made of standard keys that have not the source's values, and tensors of only one of both, but for
    those that the table leaves out."""
    source, back = table_names(spec, unpacked(row, folder)), load_folder(rebuilt)
    wrong = []
    for name in sorted(source.keys() | back.keys()):
        if name not in back:
            wrong += [] if any(t.match(name) is not None for t in spec.ignore) else [f"{name} is missing"]
        elif name not in source:
            wrong.append(f"{name} is not in the source")
        elif source[name].shape != back[name].shape:
            wrong.append(f"{name} is {list(back[name].shape)}, not {list(source[name].shape)}")
        elif not np.allclose(source[name].double(), back[name].double(), rtol=1e-6 if row.rounded else 0, atol=0):
            wrong.append(f"{name} has other values")
    return wrong


def logits(loop: Loop) -> Answer:
    """llama.cpp computes what transformers does; where that does not know the class, finite numbers."""
    if loop.row.shapes and loop.row.fault.runtime:
        return Answer(True, "-", (f"llama.cpp {loop.row.fault.runtime}",))
    if loop.row.shapes:
        out = loop.there(loop.f32)
        size = float(np.abs(out).max())
        return Answer(math.isfinite(size) and size > 0, f"runs, to {size:.1e}", ("transformers does not have the class",))
    error = peers.relative_error(loop.there(loop.f32), loop.here(loop.folder))
    if loop.row.fault.runtime:
        return Answer(math.isfinite(error), "-", (f"llama.cpp {loop.row.fault.runtime}",))
    return Answer(error <= loop.row.tolerance, f"{error:.1e}", (), error)


def tokens(loop: Loop) -> Answer:
    """The ids of hard texts: tokenizer.json's in llama.cpp, and AutoTokenizer's after both ways back.

    Where the runtime is known to differ from tokenizer.json, a tokenizer from standard keys may as well.
    """
    if loop.target:
        return Answer(True, "-", ("the tokenizer is the target's",))
    if loop.row.vocab == "none":
        return Answer(True, "-", ("the class has no tokenizer",))
    if loop.row.vocab == "pocket":
        return Answer(True, "-", ("no tokenizer.json tells its ids: tests hold them to SentencePiece",))
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    words = vocab(loop.row.vocab)
    given = words.tokenizer and Tokenizer.from_file(str(loop.folder / "tokenizer.json"))
    names = [token.content for token in given.get_added_tokens_decoder().values()] if given else []
    texts = [text for text in (*HARD_TEXTS, *names, *(f"a{name}b {name} c" for name in names)) if "\0" not in text]
    wanted = [given.encode(text).ids if given else words.encode(text) for text in texts]
    runtime = peers.tokenize(loop.own, texts, add_special=True)
    rebuilt = AutoTokenizer.from_pretrained(loop.foreign_back)
    before, after = (AutoTokenizer.from_pretrained(f) if given else rebuilt for f in (loop.folder, loop.own_back))
    wrong: dict[str, list[str]] = {"own": [], "foreign": [], "runtime": []}
    why, excused = RUNTIME_TOKENS.get(loop.row.vocab, ("", lambda text: False))
    same = 0
    for text, model, llama in zip(texts, wanted, runtime, strict=True):
        # AutoTokenizer goes by the class: the text part's is held to tokenizer.json
        for split in (False, True) if loop.name not in TEXT_PART or after.encode(text) != model else ():
            if before.encode(text, split_special_tokens=split) != after.encode(text, split_special_tokens=split):
                wrong["own"].append(text)
        same += llama == model
        if excused(text):
            continue
        if rebuilt.encode(text) not in (model, before.encode(text)):
            wrong["foreign"].append(text)
        if llama != model:
            wrong["runtime"].append(text)
    failed = tuple(f"{what}: {found[:3]}" for what, found in wrong.items() if found)
    known = (f"llama.cpp {why}",) if same < len(texts) else ()
    return Answer(not failed, f"{same}/{len(texts)}", failed or known, same / len(texts))


def lora(loop: Loop) -> Answer:
    """With factors on every weight llama.cpp computes what peft does, or else the merged model in
    llama.cpp; the weights that cannot take any are refused by name."""
    if loop.target:
        return Answer(True, "-", ("draft models take no adapters",))
    if loop.row.unadapted:
        return Answer(True, "-", (loop.row.unadapted,))
    if loop.row.shapes and loop.row.fault.runtime:
        return Answer(True, "-", (f"llama.cpp {loop.row.fault.runtime}",))
    skip, reasons = list(loop.spec.whole.parts if loop.spec.whole else ()), set()
    for attempt in range(3):
        adapter, merged = loop.work / f"adapter{attempt}", loop.work / f"merged{attempt}"
        if loop.row.shapes:
            conv1d = [t for rule in loop.spec.tensors for t in rule.hf if any(getattr(op, "conv1d", False) for op in rule.ops)]
            adapter_and_merged(loop.folder, adapter, merged, skip, seed=loop.seed, conv1d=conv1d)
        else:
            make_adapter(loop.folder, adapter, every_weight(loop.folder, skip), seed=loop.seed)
        if not stored(adapter):
            return Answer(True, "-", tuple(f"refused: {reason}" for reason in sorted(reasons)))
        try:
            ggufx.lora_to_gguf(adapter, base=loop.folder, outfile=loop.work / "adapter.gguf")
            break
        except GgufxError as error:
            problems = getattr(error, "problems", [error])
            if attempt == 2 or not all(isinstance(p, UnsupportedError) and p.tensor for p in problems):
                return Answer(False, "failed", (str(error),))
            reasons |= {p.message for p in problems if "base_layer" not in p.tensor}
            skip += [p.tensor.removeprefix("base_model.model.").partition(".lora_")[0].replace(".base_layer", "") for p in problems]
    loop.adapter = adapter
    count = len(peers.read_peer_gguf(loop.work / "adapter.gguf").tensors) // 2
    if loop.row.shapes:
        ggufx.hf_to_gguf(merged, loop.work / "merged.gguf", outtype="f32")
        expected, plain = loop.there(loop.work / "merged.gguf"), loop.there(loop.f32)
    else:
        expected, plain = loop.here(loop.folder, adapter), loop.here(loop.folder)
    error = peers.relative_error(loop.there(loop.f32, loop.work / "adapter.gguf"), expected)
    if loop.row.fault.runtime:
        return Answer(math.isfinite(error), "-", (f"llama.cpp {loop.row.fault.runtime}",))
    limit = ADAPTED * loop.row.tolerance
    if peers.relative_error(plain, expected) < max(0.1, limit):
        return Answer(False, "failed", ("the adapter makes no difference",))
    return Answer(error <= limit, f"{error:.1e} ({count})", tuple(f"refused: {reason}" for reason in sorted(reasons)), error)


def merged(loop: Loop) -> Answer:
    """An adapter on every weight that peft adapts, merged: bit for bit what peft's own merge gives. For classes that peft cannot
    load: as close to the update added in float32 as the type allows. What cannot be merged is refused by name."""
    if loop.target:
        return Answer(True, "-", ("draft models take no adapters",))
    if loop.row.unadapted:
        return Answer(True, "-", (loop.row.unadapted,))
    adapter, theirs, ours = (loop.work / f"merge-{name}" for name in ("adapter", "theirs", "ours"))
    skip, reasons = list(loop.spec.whole.parts if loop.spec.whole else ()), set()
    for attempt in range(2):
        if loop.row.shapes:
            conv1d = [t for rule in loop.spec.tensors for t in rule.hf if any(getattr(op, "conv1d", False) for op in rule.ops)]
            adapter_and_merged(loop.folder, adapter, theirs, skip, seed=loop.seed, conv1d=conv1d)
        else:
            make_adapter(loop.folder, adapter, every_weight(loop.folder, skip), seed=loop.seed)
        try:
            ggufx.merge_lora(adapter, ours, base=loop.folder)
            break
        except GgufxError as error:
            problems = getattr(error, "problems", [error])
            if attempt or not all(p.tensor for p in problems):
                return Answer(False, "failed", (str(error),))
            reasons |= {f"not merged: {p.message}" for p in problems}
            skip += [p.tensor.removeprefix("base_model.model.").partition(".lora_")[0].replace(".base_layer", "") for p in problems]
            shutil.rmtree(adapter)
            shutil.rmtree(theirs, ignore_errors=True)
    if not loop.row.shapes:
        merged_by_peft(loop.folder, [adapter], theirs)
    if loop.name in ("hy4-v4", "deepseek4-v4"):  # peft's is saved under other names: by those that both have in GGUF
        base, expected, found = (_in_gguf(folder, loop) for folder in (loop.folder, theirs, ours))
        changed = [name for name in found if not same(found[name], base[name])]
        wrong = [name for name in found if name not in expected or not any((  # transformers saves some in F32
            same(found[name], expected[name]), same(found[name], expected[name].bfloat16().float()),
            min(found[name].shape) < NARROW and close(found[name].bfloat16(), expected[name].bfloat16())))]
        return Answer(not wrong and bool(changed), f"{len(changed)} equal" if not wrong else "failed",
                      tuple(f"differs from peft's: {name}" for name in wrong[:3]) or tuple(sorted(reasons)), len(changed))
    base, expected, found = (load_folder(folder) for folder in (loop.folder, theirs, ours))
    expected = {next((n for n in found if n == name or name.endswith(f".{n}") or n.endswith(f".{name}")), name): value
                for name, value in expected.items()}
    # and decodes blocks of 4 bits, which take no update
    expected = {name: value for name, value in expected.items() if f"{name}_blocks" not in found}
    dense = "model.layers.0.block_sparse_moe."
    if not any(n.startswith(dense) for n in found):  # so it calls Kimi Linear's
        expected = {name.replace(dense, "model.layers.0.mlp."): value for name, value in expected.items()}
    # transformers 5 saves some stacks of experts turned, which the Hub has as the adapter's base has them
    expected |= {name: value.transpose(-1, -2) for name, value in expected.items() if name in found and value.ndim == 3
                 and value.shape != found[name].shape == value.transpose(-1, -2).shape}
    changed = {name for name in found if name not in base or not same(base[name], found[name])}
    # transformers leaves out, or loads in another type, some that no adapter changes; torch sums products of few rows otherwise
    kept = {name for name in found if name not in changed and (name not in expected or expected[name].dtype != found[name].dtype)}
    widened = {name for name in changed & expected.keys() if expected[name].dtype != found[name].dtype}  # it computes in F32
    expected |= {name: expected[name].to(found[name].dtype) for name in widened}
    as_close = {name for name in found if loop.row.shapes or name in widened or min(found[name].shape, default=0) < NARROW}
    wrong = [n for n in found if n not in kept and (n not in expected or not (close if n in as_close else same)(found[n], expected[n]))]
    wrong += [name for name in expected if name not in found]
    if wrong or not changed:
        return Answer(False, "failed", (f"differ from peft's: {wrong[:3]}",) if wrong else ("nothing changed",))
    return Answer(True, f"{len(changed)} equal", tuple(sorted(reasons)), len(changed))


def _in_gguf(folder: Path, loop: Loop) -> dict[str, Any]:
    """float32 of a checkpoint's tensors, by their names in GGUF."""
    made = loop.work / f"{folder.name}-compared.gguf"
    execute(GgufPlanner(folder, made, GgufOptions(plain=True, tokenizer=False)).plan("f32"))
    return {name: torch.frombuffer(bytearray(raw), dtype=torch.float32 if kind == "F32" else torch.int32).reshape(shape)
            for name, (kind, shape, raw) in peers.read_peer_gguf(made).tensors.items()}


def same(one: Any, two: Any) -> bool:
    """The same bits."""
    bits = [x.contiguous().flatten().view(torch.uint8) for x in (one, two)]
    return one.dtype == two.dtype and one.shape == two.shape and bool((bits[0] == bits[1]).all())


def close(one: Any, two: Any) -> bool:
    """As close as the type of the first allows."""
    if not one.is_floating_point() or one.shape != two.shape:
        return same(one, two)
    eps = torch.finfo(one.dtype).eps
    return torch.allclose(one.double(), two.double(), rtol=2 * eps, atol=eps * float(two.abs().max()))


def adapter_back(loop: Loop) -> Answer:
    """The adapter comes back: of an own file every bit of its factors and its settings; of one without ggufx's keys what peft
    computes, or, where transformers does not have the class, the same updates in GGUF again."""
    if loop.adapter is None:
        return Answer(True, "-", ("llama.cpp applies none",))
    adapter, base, work = loop.adapter, loop.folder, loop.work
    ggufx.gguf_to_hf(work / "adapter.gguf", work / "adapter-own", base=base)
    given = {name: value for name, value in stored(adapter).items() if "lora_" in name}
    wrong = ["factors"] if stored(work / "adapter-own") != given else []
    settings = [json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")) for folder in (adapter, work / "adapter-own")]
    wrong += ["settings"] if settings[1] != settings[0] | {k: None for k in settings[0] if k == "base_model_name_or_path"} else []
    ggufx.lora_to_gguf(adapter, base=base, outfile=work / "adapter-plain.gguf", plain=True)
    ggufx.gguf_to_hf(work / "adapter-plain.gguf", work / "adapter-foreign", base=base)
    known: tuple[str, ...] = ()
    if not loop.row.shapes:
        error = peers.relative_error(loop.here(base, work / "adapter-foreign"), loop.here(base, adapter))
    else:
        try:
            ggufx.lora_to_gguf(work / "adapter-foreign", base=base, outfile=work / "adapter-again.gguf", plain=True)
            first, again = (updates(work / f"adapter-{name}.gguf") for name in ("plain", "again"))
        except GgufxError as error:  # of modules that transformers has apart: GGUF takes no pair of theirs
            problems = getattr(error, "problems", [error])
            if not all(isinstance(problem, UnsupportedError) for problem in problems):
                raise
            known = (f"comes back for transformers' modules, and is compared merged: {problems[0].message}",)
            first, again = (_merged_floats(folder, base, work / f"merged-{folder.name}") for folder in (adapter, work / "adapter-foreign"))
        error = max((peers.relative_error(again[name], first[name]) for name in first), default=0.0) if first.keys() == again.keys() \
            else math.inf
    wrong += ["what it computes"] if error > 1e-4 else []
    return Answer(not wrong, "equal" if not error else f"{error:.1e}", tuple(f"{what} differ" for what in wrong) or known, error)


def _merged_floats(adapter: Path, base: Path, folder: Path) -> dict[str, np.ndarray]:
    """The weights of a base with an adapter merged into it."""
    ggufx.merge_lora(adapter, folder, base=base)
    return {name: value.float().numpy() for name, value in load_folder(folder).items()}


def updates(adapter: Path) -> dict[str, np.ndarray]:
    """What a GGUF adapter adds to each weight, by its name."""
    found = peers.read_peer_gguf(adapter)
    alpha = found.values["adapter.lora.alpha"][1]
    arrays = {name: np.frombuffer(raw, np.float32).reshape(shape) for name, (_, shape, raw) in found.tensors.items()}
    out = {}
    for name in (name.removesuffix(".lora_a") for name in arrays if name.endswith(".lora_a")):
        a, b = arrays[f"{name}.lora_a"], arrays[f"{name}.lora_b"]
        out[name] = alpha / b.shape[-1] * (a @ b.T if name == "token_embd.weight" else b @ a)
    return out


QUESTIONS: dict[str, Callable[[Loop], Answer]] = {
    "bits": bits, "foreign": foreign, "logits": logits, "tokens": tokens, "lora": lora,
    "adapter": adapter_back, "merged": merged}


def answers(name: str, seed: int, work: Path) -> dict[str, Answer]:
    """All of them, whatever goes wrong in one of them."""
    out = {}
    with Loop(name, seed, work) as loop:
        for question, ask in QUESTIONS.items():
            try:
                out[question] = ask(loop)
            except Exception as error:
                out[question] = Answer(False, "failed", (f"{type(error).__name__}: {error}",))
    return out
