"""The laws of design section 4, over every op of every table row."""

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from ggufx.converters.ops import OPS, Crop, Factors, LoraRefused, PackMxfp4, op_from_json
from hypothesis import given, settings
from hypothesis import strategies as st


class Sizes(dict):
    """Small consistent numbers for whatever hyperparameter a table names."""

    def __missing__(self, name):
        return 4


SIZES = Sizes({"ssm.group_count": 2, "ssm.time_step_rank": 4, "attention.head_count": 2})
CHAINS = sorted(
    {tuple(op.bind(SIZES) for op in rule.ops) for spec in SPECS for rule in spec.tensors if rule.ops},
    key=str,
)
MOVES = [ops for ops in CHAINS if all(op.moves for op in ops)]
CANDIDATES = [(48, 24), (3, 48, 24), (48, 1, 4), (3, 48), (16, 6), (48,)]


def inputs(ops, seed=0):
    """Arrays that the chain takes; every row of every table must have some."""
    rng = np.random.default_rng(seed)
    if isinstance(ops[0], PackMxfp4):
        return [rng.integers(0, 256, (3, 8, 2, 16), np.uint8), rng.integers(0, 256, (3, 8, 2), np.uint8)]
    for shape in CANDIDATES:
        try:
            shapes = [shape]
            for op in ops:
                shapes = op.shape(shapes)
            return [rng.standard_normal(shape).astype(np.float32)]
        except ValueError:
            continue
    raise AssertionError(f"no candidate shape fits {ops}")


def forward(ops, xs):
    for op in ops:
        xs = op.forward(xs)
    return xs


def inverse(ops, ys):
    for op in reversed(ops):
        ys = op.inverse.forward(ys)
    return ys


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_inverse_returns_the_bits(ops):
    xs = inputs(ops)
    if any(isinstance(op, Crop) for op in ops):
        crop = next(op for op in ops if isinstance(op, Crop))
        (kept,) = crop.index(xs[0].shape[0])
        assert np.array_equal(inverse(ops, forward(ops, xs))[0][kept], xs[0][kept])
        return
    if not all(op.exact for op in ops):  # exact for values that the float32 arithmetic keeps: quarters
        xs = [np.round(x * 4) / 4 for x in xs]
        back = inverse(ops, forward(ops, xs))
        np.testing.assert_allclose(back[0], xs[0], rtol=1e-6, atol=1e-6)
        return
    for x, back in zip(xs, inverse(ops, forward(ops, xs)), strict=True):
        assert back.shape == x.shape
        assert np.array_equal(back.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_shape_is_the_shape_of_the_result(ops):
    xs = inputs(ops)
    for op in ops:
        ys = op.forward(xs)
        if op.emits:  # elements, while the array holds block bytes
            assert op.shape([x.shape for x in xs]) == [(*y.shape[:-1], y.shape[-1] // 17 * 32) for y in ys]
        else:
            assert op.shape([x.shape for x in xs]) == [y.shape for y in ys]
        xs = ys


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_units_are_independent(ops):
    """A run of units, converted on its own, is the same run of the whole result."""
    xs = inputs(ops)
    for op in ops:
        ys = op.forward(xs)
        count = op.units([x.shape for x in xs])
        assert all(a.shape[0] % count == 0 for a in [*xs, *ys]), op
        for i in range(count):
            def part(a, i=i, count=count):
                step = a.shape[0] // count
                return a[i * step : (i + 1) * step]
            for whole, piece in zip(ys, op.forward([part(x) for x in xs]), strict=True):
                assert np.array_equal(part(whole), piece), (op, i)
        xs = ys


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_lora_factors_pass_as_the_update_does(ops):
    xs = inputs(ops)
    if isinstance(ops[0], PackMxfp4):
        with pytest.raises(LoraRefused):
            ops[0].lora([])
        return
    if any(getattr(op, "vector", False) for op in ops):
        return  # biases take no update
    stored = xs[0].shape
    turned = any(type(op).__name__ == "Conv1dStorage" for op in ops)
    out, inner = (stored[-1], stored[-2]) if turned else stored[-2:]
    rng = np.random.default_rng(1)
    a = rng.integers(-3, 4, (*stored[:-2], 2, inner)).astype(np.float32)
    b = rng.integers(-3, 4, (*stored[:-2], out, 2)).astype(np.float32)
    factors = [Factors(a, b)]
    delta = factors[0].delta.swapaxes(-1, -2) if turned else factors[0].delta
    try:
        for op in ops:
            factors = op.lora(factors)
    except LoraRefused:
        return
    expected = [y - z for y, z in zip(forward(ops, [delta]), forward(ops, [np.zeros_like(delta)]), strict=True)]
    for f, e in zip(factors, expected, strict=True):
        np.testing.assert_allclose(f.delta, e, atol=1e-5)


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_json_returns_the_op(ops):
    for op in ops:
        assert op_from_json(op.to_json()) == op
        assert op_from_json(op.inverse.to_json()) == op.inverse


def test_every_op_is_used_by_a_table():
    assert {type(op).__name__ for ops in CHAINS for op in ops} == set(OPS) - {"Op", "Lora"}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MOVES), st.integers(0, 2**31))
def test_moves_keep_any_bits(ops, seed):
    """Ops that move elements do so for raw bits of any type, NaN patterns included."""
    xs = inputs(ops, seed)
    if isinstance(ops[0], PackMxfp4) or any(isinstance(op, Crop) for op in ops):
        return
    bits = np.random.default_rng(seed).integers(0, 2**16, xs[0].shape, np.uint16)
    assert np.array_equal(inverse(ops, forward(ops, [bits]))[0], bits)


@pytest.mark.parametrize("ops", MOVES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_moves_are_the_same_on_tensors(ops, width):
    """Raw bits of any width, as numpy's arrays and as torch's tensors: forward and back."""
    import torch

    xs = inputs(ops)
    if not isinstance(ops[0], PackMxfp4):
        bits = np.random.default_rng(width).integers(0, 256, (*xs[0].shape, width), np.uint8)
        xs = [bits.view(f"i{width}" if width > 1 else np.uint8)[..., 0]]
    ys = forward(ops, xs)
    tensors = forward(ops, [torch.from_numpy(x) for x in xs])
    for y, tensor in zip(ys, tensors, strict=True):
        assert np.array_equal(tensor.numpy(), y)
        assert tensor.is_contiguous() or not y.flags.c_contiguous
    for x, tensor in zip(inverse(ops, ys), inverse(ops, tensors), strict=True):
        assert np.array_equal(tensor.numpy(), x)
