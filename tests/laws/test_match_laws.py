"""The laws of rows that share an HF name: each block's tensor goes through the row that is of that block, both ways."""

from ggufx.converters.ops import Transpose
from ggufx.converters.rules.match import match_gguf, match_hf
from ggufx.converters.rules.spec import ArchSpec, R

HF = "layers.{b}.gate.weight"
SPEC = ArchSpec("x", ("X",), "x", hparams=(), tensors=(
    R("blk.{b}.even.weight", HF, of=lambda hp, b: b % 2 == 0),
    R("blk.{b}.odd.weight", HF, Transpose(), of=lambda hp, b: b % 2 == 1),
    R("head.weight", "head", type="F32", of=lambda hp, b: hp["exact"]), R("head.weight", "head"),
))
GATES = {HF.format(b=b): f"blk.{b}.{'odd' if b % 2 else 'even'}.weight" for b in range(3)}


def there(exact: bool, names: list[str]) -> tuple[dict[str, tuple], list]:
    problems: list = []
    found = match_hf(SPEC, {"block_count": 3, "exact": exact}, dict.fromkeys(names, (4, 4)), "x", problems)
    return {m.hf[0][0]: (m.gguf[0], m.ops, m.rule.type) for m in found.matches}, problems


def test_a_name_is_the_rows_of_its_block():
    made, problems = there(False, [*GATES, "head"])
    assert problems == []
    assert {hf: gguf for hf, (gguf, _, _) in made.items()} == {**GATES, "head": "head.weight"}
    assert [made[hf][1] for hf in GATES] == [(), (Transpose(),), ()]
    assert [there(exact, [*GATES, "head"])[0]["head"][2] for exact in (False, True)] == [None, "F32"]


def test_every_block_comes_back_and_that_of_another_row_does_not():
    problems: list = []
    hp = {"block_count": 3, "exact": False}
    found = match_gguf(SPEC, hp, dict.fromkeys([*GATES.values(), "head.weight"], "F32"), "x", problems)
    assert problems == []
    assert {m.hf[0][0]: m.gguf[0] for m in found.matches} == {**GATES, "head": "head.weight"}
    match_gguf(SPEC, hp, {"blk.1.even.weight": "F32"}, "x", problems)
    assert "blk.1.even.weight" in str(problems[0])


def test_what_a_block_lacks_is_named():
    _, problems = there(False, ["head", *list(GATES)[:2]])
    assert [p.tensor for p in problems] == [HF.format(b=2)]
