"""The model card, from headers: what stands in it, what must not, what is left out and said."""

from pathlib import Path

import pytest
import yaml
from ggufx.converters.errors import InputError, UsageError
from ggufx.converters.io.values import Metadata, boolean, string, strings, u32
from ggufx.converters.publish.card import BEGIN, END, merged
from ggufx.converters.publish.contents import collect
from ggufx.converters.publish.plan import prepare
from zoo.files import write_file
from zoo.measured import write_figures

import ggufx

KEYS: Metadata = {
    "general.architecture": string("llama"), "general.type": string("model"), "general.name": string("Tiny *One*"),
    "general.license": string("other"), "general.license.name": string("tiny"), "general.license.link": string("LICENSE"),
    "general.languages": strings(["en", "no"]),
    "general.tags": strings(["safetensors", "chat", "base_model:adapter:/home/me/x", "license:other", "text-generation"]),
    "tokenizer.ggml.tokens": strings(["<s>", "</s>"]), "tokenizer.ggml.bos_token_id": u32(0),
}
TENSORS = {"token_embd.weight": ("F16", (4, 32), bytes(256)), "output.weight": ("Q8_0", (4, 32), bytes(136))}


def model(folder: Path, name: str = "tiny-Q8_0.gguf", kind: int = 7, **keys) -> Path:
    return write_file(folder / name, {**KEYS, "general.file_type": u32(kind), **keys}, TENSORS)


def made(*paths: Path, repo: str | None = "me/tiny-GGUF", bases=("org/tiny@" + "ab" * 20,), **options):
    found = prepare(collect(paths), repo, bases, **options)
    head, _, body = found.card.removeprefix("---\n").partition("---\n")
    return yaml.load(head, yaml.BaseLoader), body, found.notes


def test_front_matter_is_the_base_models(tmp_path: Path):
    front, _, notes = made(model(tmp_path))
    assert front == {
        "base_model": "org/tiny", "base_model_relation": "quantized", "license": "other", "license_name": "tiny",
        "license_link": "https://huggingface.co/org/tiny/blob/main/LICENSE", "language": ["en", "no"],
        "pipeline_tag": "text-generation", "library_name": "gguf", "tags": ["chat", "gguf"], "quantized_by": "me"}
    assert notes == ()


def test_what_is_not_known_is_left_out_and_said(tmp_path: Path):
    front, _, notes = made(model(tmp_path), bases=())
    assert not {"base_model", "base_model_relation", "license_link"} & set(front)
    assert any("made of is not known" in note for note in notes)
    assert any("link to the licence" in note for note in notes)
    for wrong in ({"bases": ["no id"]}, {"bases": ["a/b:c.gguf"]}, {"relation": "cousin"}, {"repo": "nothing"}):
        with pytest.raises(UsageError):
            made(model(tmp_path), **wrong)


def test_an_adapter_is_one_of_its_base(tmp_path: Path):
    keys = {"general.type": string("adapter"), "general.base_model.count": u32(1), "general.base_model.0.name": string("Tiny"),
            "general.base_model.0.organization": string("Org"),
            "general.base_model.0.repo_url": string("https://huggingface.co/org/tiny")}
    front, body, _ = made(model(tmp_path, "a-F16-LoRA.gguf", 1, **keys), bases=())
    assert front["base_model"] == "org/tiny"
    assert front["base_model_relation"] == "adapter"
    assert "llama-server -m BASE.gguf --lora a-F16-LoRA.gguf" in body
    assert "LoRA adapter, for beside its base model" in body


def test_the_table_says_what_each_file_is(tmp_path: Path):
    projector = model(tmp_path, "mmproj-tiny-F16.gguf", 1, **{
        "general.type": string("mmproj"), "general.architecture": string("clip"), "clip.has_vision_encoder": boolean(True)})
    files = [model(tmp_path, "tiny-Q4_K_M.gguf", 15), model(tmp_path, "tiny-F16.gguf", 1), projector]
    _, body, notes = made(*files)
    link = "https://huggingface.co/me/tiny-GGUF/blob/main/"
    assert f"| [tiny-Q4\\_K\\_M.gguf]({link}tiny-Q4_K_M.gguf) | Q4_K_M | 0.00 | 12.25 | no | the usual choice:" in body
    assert f"| [mmproj-tiny-F16.gguf]({link}mmproj-tiny-F16.gguf) | F16 | 0.00 | 12.25 | no | vision and audio parts" in body
    assert "# Tiny \\*One\\* GGUF" in body
    assert f"[org/tiny](https://huggingface.co/org/tiny/tree/{'ab' * 20}) at commit abababababab, in GGUF" in body
    assert "llama-server -hf me/tiny-GGUF:Q4_K_M\n" in body
    assert "ollama run hf.co/me/tiny-GGUF:Q4_K_M\n" in body
    assert "lms get me/tiny-GGUF@q4_k_m\n" in body
    assert notes == ()
    _, body, _ = made(*files, repo=None)
    assert "](tiny-Q4_K_M.gguf) |" in body
    assert "llama-server -m tiny-Q4_K_M.gguf --mmproj mmproj-tiny-F16.gguf\n" in body
    assert "lms import tiny-Q4_K_M.gguf\n" in body


def test_figures_that_lie_beside_the_files_stand_in_the_table(tmp_path: Path):
    base, file, other = (model(tmp_path, f"tiny-{name}.gguf", kind) for name, kind in (("F16", 1), ("Q4_0", 2), ("Q8_0", 7)))
    write_figures(base, {file: 0.03125}, perplexity=6.5, same_top=0.98765)
    found = prepare(collect([base, file, other]), "me/tiny-GGUF")
    rows = {line.split("]")[0]: line for line in found.card.splitlines() if line.startswith("| [")}
    assert "| Good for | Perplexity | Divergence | Same token |\n" in found.card
    assert rows["| [tiny-Q4\\_0.gguf"].endswith(" | 6.5000 ± 0.5000 | 0.0312 ± 0.0010 | 98.77% |")
    assert rows["| [tiny-F16.gguf"].endswith(" | 6.5000 ± 0.5000 |  |  |")
    assert rows["| [tiny-Q8\\_0.gguf"].endswith(" |  |  |  |")
    assert "over 4,096 positions of a text, against tiny-F16.gguf: perplexity" in found.card
    model(tmp_path, "tiny-Q4_0.gguf", 2, **{"general.name": string("Tiny *Two*")})  # as long, but another
    found = prepare(collect([file, other]), "me/tiny-GGUF")
    assert "Perplexity" not in found.card
    assert any("tells of other files than those that lie there: tiny-Q4_0.gguf" in note for note in found.notes)


def test_figures_of_split_files_are_those_of_the_set(tmp_path: Path):
    file = model(tmp_path)
    base = model(tmp_path, "tiny-F16.gguf", 1)
    ggufx.split(file, tmp_path / "parts-Q8_0", max_tensors=1)
    first = tmp_path / "parts-Q8_0-00001-of-00002.gguf"
    write_figures(base, {first: 0.25})
    (figures,) = collect([first]).measured.values()
    assert (figures[0].divergence, figures[0].size) == (0.25, sum(p.stat().st_size for p in tmp_path.glob("parts-*")))


def test_a_row_that_stays_is_without_its_figures(tmp_path: Path):
    base, file = model(tmp_path, "tiny-F16.gguf", 1), model(tmp_path, "tiny-Q8_0.gguf")
    write_figures(base, {file: 0.25})
    old = prepare(collect([file]), "me/tiny-GGUF").card
    (tmp_path / "other").mkdir()
    new = prepare(collect([model(tmp_path / "other", "tiny-Q4_0.gguf", 2)]), "me/tiny-GGUF").card
    text = merged(old, new, {"tiny-Q8_0.gguf"})
    (row,) = [line for line in old.splitlines() if line.startswith("| [")]
    assert row.endswith("0.2500 ± 0.0010 | 50.00% |")
    (kept,) = [line for line in text.splitlines() if "Q8" in line and line.startswith("| [")]
    assert row.startswith(kept)
    assert kept.count("|") == 7
    assert "0.2500" not in text


def test_what_files_were_made_of_stays_where_a_later_push_does_not_know_it(tmp_path: Path):
    base = "org/tiny@" + "ab" * 20
    file = model(tmp_path)
    old, unknown, other = (prepare(collect([file]), "me/tiny-GGUF", bases).card for bases in ((base,), (), ("org/other",)))
    assert merged(old, old, ()) == old
    assert merged(old, unknown, ()) == old
    assert "[org/other](https://huggingface.co/org/other), in GGUF, made with ggufx." in merged(old, other, ())
    assert "org/tiny" not in merged(old, other, ()).partition(BEGIN)[2]


def test_a_measurement_that_tells_a_path_of_this_machine_is_not_published(tmp_path: Path):
    base = model(tmp_path, "tiny-F16.gguf", 1)
    report = write_figures(base, {})
    with pytest.raises(InputError, match="holds a path of this machine"):
        collect([tmp_path])
    report.write_text(report.read_text().replace(f"{tmp_path}/", ""))
    assert {item.name for item in collect([tmp_path]).items} == {"tiny-F16.gguf", "measure.json"}


def test_an_encoder_is_run_as_one(tmp_path: Path):
    _, body, _ = made(model(tmp_path, **{"llama.attention.causal": boolean(False)}))
    assert "llama-server -hf me/tiny-GGUF:Q8_0 --embedding\n" in body
    assert "ollama" not in body


def test_the_prompt_is_rendered_and_a_template_cannot_leave_its_block(tmp_path: Path):
    template = "{{ bos_token }}```\n{% for m in messages %}{{ m.content }}{% endfor %}\n````\n# Title"
    _, body, _ = made(model(tmp_path, **{"tokenizer.chat_template": string(template)}))
    assert "## Prompt format\n\n`````\n<s>```\n{system_prompt}{prompt}````\n# Title\n`````\n" in body
    _, body, notes = made(model(tmp_path, **{"tokenizer.chat_template": string("{{ raise_exception('never') }}")}))
    assert "Prompt format" not in body
    assert [note for note in notes if "shows no prompt format" in note and "never" in note]


def test_names_that_hide_a_file_are_told(tmp_path: Path):
    def said(*files: Path) -> str:
        return "\n".join(made(*files)[2])

    assert "takes no file with mtp- in its name for a model: tiny-mtp-Q8_0.gguf" in said(model(tmp_path, "tiny-mtp-Q8_0.gguf"))
    assert "does not find it as :Q8_0" in said(model(tmp_path, "tiny-q8_0_v2.gguf"))
    assert "takes a-Q8_0-F16.gguf for :Q8_0: b-Q8_0.gguf" in said(
        model(tmp_path, "a-Q8_0-F16.gguf", 1), model(tmp_path, "b-Q8_0.gguf"))
    projector = {"general.type": string("mmproj"), "general.architecture": string("clip")}
    vision = model(tmp_path, "vision-F16.gguf", 1, **projector)
    assert "a name with mmproj in it says what it is: vision-F16.gguf" in said(vision)
    (tmp_path / "preset.ini").write_text("[x]")
    assert "reads this file of a repository and nothing else: preset.ini" in said(model(tmp_path), tmp_path / "preset.ini")


def test_default_names_of_all_types_are_found(tmp_path: Path):
    from ggufx.converters.metadata.naming import default_file_name
    from ggufx.converters.publish.names import tag_finds
    from ggufx.quant.recipes.recipe import FILE_TYPES

    kinds = [row.name for row in FILE_TYPES.values() if row.number is not None]
    named = {kind: default_file_name(KEYS, kind) for kind in kinds}
    for kind in kinds:
        assert tag_finds(kind, [named[kind]]) == named[kind]
        found = "BF16" if kind == "F16" else kind  # as llama-server has it: the tag may begin anywhere
        assert tag_finds(kind, list(named.values())) == named[found]
        assert tag_finds(kind, [f"model-{kind.lower()}.gguf"])
        assert tag_finds(kind, [f"model-{kind.lower()}-00001-of-00002.gguf"])


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match=r"two files would be tiny-Q8_0\.gguf"):
        collect([model(tmp_path), model(tmp_path / "other")])


def test_a_card_without_our_marks_has_no_place_for_ours():
    new = f"---\nlicense: mit\n---\n\n{BEGIN}\nx\n{END}\n"
    assert merged("# Mine\n", new, ()) is None
    assert merged(f"{END}{BEGIN}", new, ()) is None
    assert merged(f"---\na: &x 1\nb: *x\n---\n{BEGIN}{END}", new, ()) is None
    assert merged(f"before {BEGIN}old{END} behind", new, ()) == f"---\nlicense: mit\n---\nbefore {BEGIN}\nx\n{END} behind"
