"""Templates invert, and each name of a table is found by exactly the rule it belongs to."""

import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.rules.template import Template, TemplateIndex
from hypothesis import given
from hypothesis import strategies as st

TEMPLATES = sorted({t.text for spec in SPECS for rule in spec.tensors for t in (*rule.gguf, *rule.hf)})
INDEX = st.integers(0, 999)
HOLES = st.fixed_dictionaries({"b": INDEX, "m": INDEX, "e": INDEX, "p": st.sampled_from(["weight", "bias"])})


@given(st.sampled_from(TEMPLATES), HOLES)
def test_match_and_format_are_inverse(text, holes):
    template = Template(text)
    own = {k: v for k, v in holes.items() if k in template.holes}
    assert template.match(template.format(holes)) == own


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


@pytest.mark.parametrize("text", ["blk.{x}.w", "blk.{b}.{b}"])
def test_bad_templates_are_refused(text):
    with pytest.raises(ValueError, match="hole"):
        Template(text)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.classes[0])
def test_no_hf_name_belongs_to_two_rules(spec):
    index: TemplateIndex[int] = TemplateIndex()
    rules = [rule for rule in spec.tensors if not rule.foreign]
    for i, rule in enumerate(rules):
        for template in rule.hf:
            index.add(template, i)
    for rule in rules:
        for template in rule.hf:
            for p in ("weight", "bias") if "p" in template.holes else ("weight",):
                found = list(index.find(template.format({"b": 3, "m": 1, "e": 2, "p": p})))
                assert len(found) == 1, (template.text, [v for _, v, _ in found])
