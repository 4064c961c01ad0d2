"""Templates invert, and each name of a table is found by exactly the rule it belongs to."""

from string import ascii_lowercase

import pytest
from ggufx.converters.arch import SPECS, projectors
from ggufx.converters.rules.template import Template, TemplateIndex
from hypothesis import given, settings
from hypothesis import strategies as st

# Numbers of their own, other stacks, a hole within a segment: forms that the tables need not have yet.
OTHERS = {"block.{b}.layer.0.wi_0.{p}", "mm.0.{p}", "decoder.block.{d}.layer.2.wo.weight", "v.blk.{v}.ffn_up.bias",
          "conv{b}.weight", "a.1.2.{e}"}
TEMPLATES = sorted(OTHERS | {t.text for spec in SPECS for rule in spec.tensors for t in (*rule.gguf, *rule.hf)})
INDEX = st.integers(0, 999)
HOLES = st.fixed_dictionaries({**dict.fromkeys(ascii_lowercase, INDEX), "p": st.sampled_from(["weight", "bias"])})


@settings(deadline=None)
@given(st.sampled_from(TEMPLATES), HOLES)
def test_match_and_format_are_inverse(text, holes):
    template = Template(text)
    own = {k: v for k, v in holes.items() if k in template.holes}
    assert template.match(template.format(holes)) == own


@settings(deadline=None)
@given(st.sampled_from(TEMPLATES), HOLES)
def test_the_index_finds_what_a_scan_finds(text, holes):
    index: TemplateIndex[str] = TemplateIndex()
    for t in TEMPLATES:
        index.add(Template(t), t)
    name = Template(text).format(holes)
    assert {v for _, v, _ in index.find(name)} == {t for t in TEMPLATES if Template(t).match(name) is not None}


@pytest.mark.parametrize("name", ["blk.03.attn_q.weight", "blk.-1.attn_q.weight", "blk.x.attn_q.weight",
                                  "blk.1.attn_q.scale", "blk.9999999999.attn_q.weight", "xblk.1.attn_q.weight"])
def test_near_misses_do_not_match(name):
    assert Template("blk.{b}.attn_q.{p}").match(name) is None


@pytest.mark.parametrize("text", ["blk.{X}.w", "blk.{bb}.w", "blk.{b}.{b}"])
def test_bad_templates_are_refused(text):
    with pytest.raises(ValueError, match="hole"):
        Template(text)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.classes[0])
def test_no_hf_name_belongs_to_two_rules(spec):
    index: TemplateIndex[int] = TemplateIndex()
    rules = [rule for rule, only_read in zip(spec.tensors, spec.layouts, strict=True) if not only_read]
    for i, rule in enumerate(rules):
        for template in rule.hf:
            index.add(template, i)
    for rule in rules:
        for template in rule.hf:
            for p in ("weight", "bias") if "p" in template.holes else ("weight",):
                found = list(index.find(template.format({**dict.fromkeys(template.holes, 3), "p": p})))
                # a row of one block stands before that of all; rows that are `of` some blocks before those of the rest
                holes = [len(t.holes) for t, i, _ in found if rules[i].of is None]
                assert [n for n in holes if n == min(holes)] == holes[:1], (template.text, [v for _, v, _ in found])


@pytest.mark.parametrize("spec", [*SPECS, *projectors.SPECS], ids=lambda s: s.classes[0])
def test_every_size_that_a_row_names_is_there(spec):
    """A name in a shape or an op is a key that a rule writes, a derived size, a constant or the vocabulary's size; in a shape
    it may be one that tensors show, of which something is said. Every row has a shape."""
    known = {key for rule in spec.hparams for key in rule.writes} | set(spec.sizes) | set(spec.constants) | {"vocab_size"}
    named = set()
    assert [str(rule.gguf[0]) for rule in spec.tensors if rule.shape is None] == []
    for rule in spec.tensors:
        for op in rule.ops:
            op.bind(_Recorder(named))
    of_shapes = {word for rule in spec.tensors for factors in rule.shape.replace(";", "").split() for word in factors.split("*")
                 if not word.isdecimal()}
    assert named <= known
    assert of_shapes <= known | set(spec.shown)
    assert all(shown.why for shown in spec.shown.values())


class _Recorder(dict):
    """Notes what is asked for."""

    def __init__(self, names):
        self.names = names

    def __contains__(self, name):
        self.names.add(name)
        return True

    def __missing__(self, name):
        self.names.add(name)
        return 1


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.classes[0])
def test_gguf_names_made_by_several_rows_are_told_apart(spec):
    """On the way back one row takes a tensor: by what else the file has (`given`), by type, by the recorded layout, by
    block (`of`), or the first; so rows of one GGUF name that are written are of different HF names."""
    rows = {}
    for rule, only_read in zip(spec.tensors, spec.layouts, strict=True):
        if not only_read and rule.of is None:
            for made in rule.gguf:
                key = tuple(str(t) for t in rule.hf)
                assert key not in rows.setdefault(str(made), set()), (str(made), key)
                rows[str(made)].add(key)
