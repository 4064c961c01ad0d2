"""The model card of GGUF files: front matter, a table of the files, the prompt format, how to run them.

All of it comes from the files' own headers, from what their maker states, and from the figures of a measure.json that lies
beside them; nothing is measured here, and nothing guessed.
What is generated stands between two marks, so that a later push renews it and leaves the rest of the card alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ...quant.recipes.recipe import FILE_TYPES
from ..errors import GgufxError
from ..inspect.inspection import Inspection
from ..io.files import printable
from ..metadata.model_card import card_fields, fields_of, front_matter, is_path, split_card
from ..notes import Note
from ..sources.hub import HubReference
from .contents import Contents, parts_of
from .names import FIRST, tag_finds
from .prompt import prompt_format

BEGIN, END = "<!-- ggufx: renewed by the next push -->", "<!-- ggufx: end -->"
HUB = "https://huggingface.co"
_ORDER = ("base_model", "base_model_relation", "license", "license_name", "license_link", "language", "pipeline_tag",
          "library_name", "tags", "quantized_by")
_NOT_TAGS = frozenset(("safetensors", "pytorch", "transformers", "peft", "tf", "jax", "onnx", "gguf", "imatrix", "mlx",
                       "text-generation-inference", "endpoints_compatible", "autotrain_compatible"))
_OF_OTHERS = ("base_model:", "license:", "region:", "dataset:")  # tags that the Hub makes of other keys
_WORDS = {"mmproj": "vision and audio parts, for beside the model", "imatrix": "importance matrix, to quantize with",
          "adapter": "LoRA adapter, for beside its base model"}
_COLUMNS = {"File": "---", "Type": "---", "Size / GB": "---:", "Bits per weight": "---:", "Split": "---", "Good for": "---"}
_MEASURED = {"Perplexity": "---:", "Divergence": "---:", "Same token": "---:"}
_HOW_TO_RUN = "## How to run it"
_MADE = "made with ggufx."
_MADE_OF_UNKNOWN = re.compile(rf"^(?:In GGUF, m|M){re.escape(_MADE[1:])}$", re.MULTILINE)
_ROW = re.compile(r"\| \[[^\]]*\]\(<?(?P<link>[^)>]+)>?\) \|")


@dataclass(frozen=True)
class Lineage:
    """What the files were made of, as their maker states it. `models`: Hub ids, each with the commit that was read where it
    is known. `relation` of the Hub: quantized, adapter, merge or finetune."""

    models: tuple[HubReference, ...] = ()
    relation: str = "quantized"
    quantized_by: str | None = None


def make_card(contents: Contents, lineage: Lineage, repo: str | None, notes: list[Note]) -> str:
    """README.md of these files in `repo`; None: of files that lie on a disk. What could not be told is said in `notes`."""
    models = {name: found for name, found in contents.ggufs.items() if found.form == "gguf"}
    about = next(iter(models.values()), None) or next(iter(contents.ggufs.values()), None)
    fields = _fields(contents, about, lineage, repo, notes)
    return f"---\n{front_matter(fields)}---\n\n{BEGIN}\n{_body(contents, models, about, lineage, repo, notes)}{END}\n"


def merged(old: str, new: str, kept: Collection[str]) -> str | None:
    """An older card with what is generated of the new one in its place, keys that it lacks, and the rows of files that stay
    (`kept`: names), without their figures, which may be of another text. What the files were made of stays where the new one
    does not know it. None where there is no such place: the card is somebody's own."""
    if any(text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END) for text in (old, new)):
        return None
    old_head, old_text = split_card(old)
    new_head, new_text = split_card(new)
    try:
        had = fields_of(old_head)
    except (GgufxError, ValueError):
        return None
    added = {key: value for key, value in fields_of(new_head).items() if key not in had}
    begin, end = old_text.index(BEGIN), old_text.index(END)
    block = new_text[new_text.index(BEGIN) : new_text.index(END)]
    made_of = next((line for line in old_text[begin:end].splitlines() if line.endswith(_MADE) and line.startswith("[")), None)
    if made_of:
        block = re.sub(_MADE_OF_UNKNOWN, lambda _: made_of, block, count=1)
    rows = {_named(line): line for line in old_text[begin:end].splitlines() if _named(line)}
    fresh = {_named(line): line for line in block.splitlines() if _named(line)}
    stay = ["|".join([*line.split("|")[: len(_COLUMNS) + 1], ""]) for name, line in rows.items()
            if name not in fresh and name in kept]
    if fresh and stay:
        block = block.replace("\n".join(fresh.values()), "\n".join(sorted([*fresh.values(), *stay], key=_smallness)), 1)
    was_run, is_run = (text.find(_HOW_TO_RUN) for text in (old_text[begin:end], block))
    if was_run >= 0 and is_run >= 0 and _rank(stay) < _rank(fresh.values()):  # runtimes take a file that stays
        block = block[:is_run] + old_text[begin:end][was_run:]
    head = (old_head if not old_head or old_head.endswith("\n") else f"{old_head}\n") + (front_matter(added) if added else "")
    return f"---\n{head}---\n{old_text[:begin]}{block}{old_text[end:]}"


def _smallness(row: str) -> tuple[float, ...]:
    """By which the largest file comes first, as in `_table`."""
    cells = row.split("|")
    return tuple(-float(cell) if re.fullmatch(r" \d+\.\d+ ", cell) else 0.0 for cell in cells[3:5])


def _rank(rows: Iterable[str]) -> int:
    """Of the file among them that runtimes take first by its type."""
    types = {row.split("|")[2].strip() for row in rows}
    return next((number for number, kind in enumerate(FIRST) if kind in types), len(FIRST))


def _named(line: str) -> str:
    """The file that a row of the table is of."""
    match = _ROW.match(line)
    return "" if match is None else unquote(match["link"].rpartition("/blob/main/")[2])


def _fields(contents: Contents, about: Inspection | None, lineage: Lineage, repo: str | None,
            notes: list[Note]) -> dict[str, Any]:
    told = card_fields(about.metadata) if about is not None else {}
    models = [reference.repo for reference in lineage.models]
    if not models and about is not None and about.form == "adapter":
        models = [name for name in told.get("base_model", []) if not is_path(name)]
    if not models:
        notes.append(Note("what the files were made of is not known: --base-model ORG/MODEL states it for the card"))
    link = told.get("license_link", "")
    if link and not re.match(r"https?://", link):
        if lineage.models:
            told["license_link"] = f"{HUB}/{models[0]}/blob/main/{quote(link)}"
        else:
            del told["license_link"]
            notes.append(Note("the card leaves a link to the licence out, which leads to a file of the base model", link))
    tags = [tag for tag in told.get("tags", []) if tag not in _NOT_TAGS and not tag.startswith(_OF_OTHERS) and not is_path(tag)]
    library = "gguf" if contents.ggufs else "peft" if _is_adapter(contents) else "transformers"
    if contents.ggufs:
        tags += ["gguf"] + ["imatrix"] * any(found.form.endswith("imatrix") or "quantize.imatrix.file" in found.keys
                                              for found in contents.ggufs.values())
    by = lineage.quantized_by or (repo or "").partition("/")[0]
    told |= {"base_model": models[0] if len(models) == 1 else models, "library_name": library, "tags": tags,
             "base_model_relation": lineage.relation if models else "", "quantized_by": by if contents.ggufs else ""}
    return {key: told[key] for key in _ORDER if told.get(key)}


def _is_adapter(contents: Contents) -> bool:
    return any(item.name == "adapter_config.json" for item in contents.items)


def _body(contents: Contents, models: dict[str, Inspection], about: Inspection | None, lineage: Lineage, repo: str | None,
          notes: list[Note]) -> str:
    name = (about.name if about is not None else None) or (repo or "").rpartition("/")[2] or "Model"
    out = [f"# {_plain(name)}{' GGUF' if contents.ggufs and 'gguf' not in str(name).lower() else ''}", ""]
    made = f"{'in GGUF, ' if contents.ggufs else ''}{_MADE}"
    if lineage.models:
        out += [f"{' and '.join(map(_linked, lineage.models))}, {made}", ""]
    else:
        out += [f"{made[0].upper()}{made[1:]}", ""]
    if contents.ggufs:
        out += _table(contents, repo)
    if models:
        out += _prompt(next(iter(models.values())), notes)
        out += _run(models, contents, repo)
    elif any(found.form == "adapter" for found in contents.ggufs.values()):
        adapter = next(file for file, found in contents.ggufs.items() if found.form == "adapter")
        out += [_HOW_TO_RUN, "", "Beside its base model, in llama.cpp:", "",
                *_code(f"llama-server -m BASE.gguf --lora {adapter}")]
    return "\n".join(out).rstrip("\n") + "\n"


def _table(contents: Contents, repo: str | None) -> list[str]:
    """The files, the largest first."""
    rows = []
    for name, found in sorted(contents.ggufs.items(), key=lambda pair: -contents.size_of(pair[0])):
        parts = len(parts_of(name))
        kind = _type(found)
        link = f"{HUB}/{repo}/blob/main/{name}" if repo else name
        use = _WORDS.get(found.form.removeprefix("legacy "), FILE_TYPES[kind].use if kind in FILE_TYPES else "")
        bits = "" if found.form == "imatrix" else f"{found.bits_per_weight:.2f}"
        cells = f"| {' | '.join(_figures(contents, name))} |" if contents.measured else "|"
        rows.append(f"| [{_plain(name.rpartition('/')[2])}]({quote(link, safe=':/')}) | "
                    f"{kind if found.form != 'imatrix' else ''} | {contents.size_of(name) / 1e9:.2f} | {bits} | "
                    f"{f'{parts} parts' if parts > 1 else 'no'} | {use} {cells}")
    columns = {**_COLUMNS, **(_MEASURED if contents.measured else {})}
    return ["## Files", "", f"| {' | '.join(columns)} |", f"|{'|'.join(columns.values())}|", *rows, "", *_measured(contents)]


def _figures(contents: Contents, name: str) -> tuple[str, str, str]:
    """The cells of _MEASURED; empty of a file that was not measured."""
    if name not in contents.measured:
        return "", "", ""
    m, base = contents.measured[name]
    apart = "" if m.path.name == base else f"{m.divergence:.4f} ± {m.divergence_error:.4f}"
    return f"{m.perplexity:.4f} ± {m.perplexity_error:.4f}", apart, f"{m.same_top:.2%}" if apart else ""


def _measured(contents: Contents) -> list[str]:
    """What the figures are, once for all files that were measured alike."""
    alike = dict.fromkeys((base, m.positions) for m, base in contents.measured.values())
    told = [f"Measured in llama.cpp over {positions:,} positions of a text, against {_plain(base)}: perplexity, mean "
            "divergence (Kullback-Leibler, in nats), how often both find the same token likeliest."
            for base, positions in alike]
    return [*told, ""] if told else []


def _type(found: Inspection) -> str:
    """The file type; of a file that does not tell it, the type of most of its bytes."""
    return found.file_type or next(iter(found.types), "")


def _prompt(model: Inspection, notes: list[Note]) -> list[str]:
    template = model.templates.get("default")
    if template is None:
        return []
    tokens = model.keys.get("tokenizer.ggml.tokens", ())
    special = {}
    for name in ("bos", "eos"):
        number = model.keys.get(f"tokenizer.ggml.{name}_token_id")
        if isinstance(number, int) and number < len(tokens):
            special[f"{name}_token"] = str(tokens[number])
    try:
        text = prompt_format(template, special)
    except GgufxError as error:
        notes.append(Note(f"the card shows no prompt format: {error.message}"))
        return []
    return ["## Prompt format", "", *_code(text)]


def _run(models: dict[str, Inspection], contents: Contents, repo: str | None) -> list[str]:
    """Commands for the file that runtimes take by themselves."""
    by_type = {_type(found): name for name, found in reversed(models.items())}
    name = next((by_type[kind] for kind in FIRST if kind in by_type), next(iter(models)))
    model, parts = models[name], parts_of(name)
    tag = _type(model) if tag_finds(_type(model), contents.ggufs) == name else ""
    embeds = model.keys.get(f"{model.architecture}.attention.causal") is False
    projector = next((n for n, found in contents.ggufs.items() if found.form == "mmproj"), None)
    if repo is None:
        server = f"llama-server -m {name}{f' --mmproj {projector}' if projector else ''}"
        ollama = f"ggufx modelfile {name}{f' --mmproj {projector}' if projector else ''}\nollama create NAME -f Modelfile"
        studio = f"lms import {name}"
    else:
        server = f"llama-server -hf {repo}:{tag}" if tag else f"llama-server -hf {repo} -hff {name}"
        ollama = f"ollama run hf.co/{repo}{f':{tag}' if tag else ''}"
        studio = f"lms get {repo}{f'@{tag.lower()}' if tag else ''}"
    out = [_HOW_TO_RUN, "", "llama.cpp:", "", *_code(f"{server}{' --embedding' if embeds else ''}")]
    if not embeds:
        out += [f"Ollama{' (of 2026 or later, since the file is split)' if len(parts) > 1 else ''}:", "", *_code(ollama)]
    return [*out, "LM Studio:", "", *_code(studio)]


def _code(text: str) -> list[str]:
    """A block that no line of the text can end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return [fence, *text.rstrip("\n").split("\n"), fence, ""]


def _linked(reference: HubReference) -> str:
    commit = reference.revision or ""
    link = f"[{reference.repo}]({HUB}/{reference.repo}{f'/tree/{quote(commit)}' if commit else ''})"
    return f"{link} at commit {commit[:12]}" if re.fullmatch(r"[0-9a-f]{40}", commit) else link


def _plain(text: Any) -> str:
    """One line that Markdown takes for text."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", printable(" ".join(str(text).split()), 200))
