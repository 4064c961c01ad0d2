"""Jobs cut into tiles, and jobs that become other addresses: the bytes of the uncut job."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.ops import Add, Crop, MlaKv, NegExp, RopePermute, Split, Transpose
from ggufx.converters.plan.plan import Region, TensorJob, region_bytes
from ggufx.converters.plan.tiles import Tile, by_address, is_copy, memory, tiles, unit_count
from ggufx.converters.run.convert_tile import PIECE, run_tile
from ggufx.quant import ELEMENT_TYPES, FORMATS, KERNELS, dequantize
from ggufx.quant.dispatch import Weights
from hypothesis import given, settings
from hypothesis import strategies as st


class Memory:
    """Files that are arrays."""

    def __init__(self, source: bytes, size: int) -> None:
        self.source = np.frombuffer(source, np.uint8)
        self.output = np.zeros(size, np.uint8)

    def read(self, file, offset, data):
        assert offset + len(data) <= len(self.source)
        data[:] = self.source[offset : offset + len(data)]

    def write(self, file, offset, data):
        flat = np.frombuffer(memoryview(data).cast("B"), np.uint8)
        assert offset + len(flat) <= len(self.output)
        self.output[offset : offset + len(flat)] = flat

    def copy(self, source, target, nbytes):
        self.write(target[0], target[1], self.source[source[1] : source[1] + nbytes])


def job_of(ops, shapes, source: str, target: str) -> tuple[TensorJob, Memory]:
    """A job over sources and outputs laid out one after another."""
    sources, at = [], 0
    for shape in shapes:
        sources.append(Region(0, at, source, shape))
        at += sources[-1].nbytes
    made = list(shapes)
    for op in ops:
        made = op.shape(made)
    outputs, end = [], 16
    for shape in made:
        outputs.append(Region(0, end, target, shape))
        end += outputs[-1].nbytes
    rng = np.random.default_rng(at)
    values = rng.standard_normal(at // region_bytes(source, (1,))).astype(np.float32)
    data = {"F32": values, "F16": values.astype(np.float16), "BF16": (values.view(np.uint32) >> 16).astype(np.uint16)}
    return TensorJob("t", tuple(sources), tuple(ops), tuple(outputs)), Memory(data[source].tobytes(), end)


CASES = [
    ((), [(48, 64)]),
    ((), [(6, 8, 64)]),
    ((), [(48,)]),
    ((Split((1, 1)),), [(48, 64)]),
    ((Split((2, 1)),), [(48,)]),
    ((Split((1, 2)),), [(4, 48, 64)]),
    ((Split((1, 2)).inverse,), [(16, 64), (32, 64)]),
    ((Split((1, 1), vector=True),), [(6, 64)]),
    ((Crop(start=4),), [(48, 64)]),
    ((Crop(start=4, stop=40), Add(1.0)), [(48, 64)]),
    ((Crop(start=4, stop=40, rows=48).inverse,), [(36, 64)]),
    ((Add(-1.0), Crop(start=2, rows=50).inverse), [(48, 64)]),
    ((RopePermute(8),), [(48, 64)]),
    ((RopePermute(8), Split((1, 1))), [(48, 64)]),
    ((Split(2, groups=24),), [(48, 64)]),
    ((Split(2, groups=24),), [(4, 48, 64)]),
    ((Split(2, groups=2, join=True, start=16),), [(48, 64)]),
    ((Transpose(),), [(48, 64)]),
    ((Transpose(),), [(4, 48, 64)]),
    ((MlaKv(4, 8, 4),), [(48, 64)]),
]


@pytest.mark.parametrize(("source", "target"), [("F32", "F32"), ("BF16", "BF16"), ("BF16", "F32"), ("F32", "F16")])
@pytest.mark.parametrize(("ops", "shapes"), CASES, ids=lambda c: str(c) if isinstance(c, list) else None)
def test_cut_jobs_write_what_the_whole_writes(ops, shapes, source, target):
    job, whole = job_of(ops, shapes, source, target)
    checksums = run_tile(job, Tile(0, 1, 1), whole)
    for region, checksum in zip(job.outputs, checksums, strict=False):
        assert checksum == zlib.crc32(whole.output[region.offset : region.offset + region.nbytes])
    assert len(checksums) == (0 if is_copy(job) else len(job.outputs))
    for budget in (1, 5000, 1 << 30):
        cut = Memory(whole.source.tobytes(), len(whole.output))
        for part in by_address(job):
            for tile in tiles(part, budget):
                run_tile(part, tile, cut)
        assert np.array_equal(cut.output, whole.output), budget


@pytest.mark.parametrize(("ops", "shapes"), [c for c in CASES if c[0] and isinstance(c[0][0], (Split, Crop))])
def test_splits_and_crops_of_rows_can_be_cut(ops, shapes):
    """As addresses these need no array of the whole tensor, unless the rows are not axis 0."""
    job, _ = job_of(ops, shapes, "BF16", "BF16")
    parts = by_address(job)
    if len(shapes[0]) == 3 or getattr(ops[0], "vector", False):
        assert parts == (job,)
    else:
        assert all(unit_count(part) == part.outputs[0].shape[0] for part in parts)
        assert all(not any(isinstance(op, (Split, Crop)) for op in part.ops) for part in parts)
    assert all(by_address(part) == (part,) for part in parts)


def test_weights_follow_their_outputs():
    job, _ = job_of((Split((1, 1)),), [(48, 64)], "F32", "F32")
    weighted = TensorJob(job.name, job.sources, job.ops, job.outputs, (("q", 0), None))
    assert [part.weights for part in by_address(weighted)] == [(("q", 0),), (None,)]


@given(st.integers(1, 60), st.integers(1, 200_000), st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=6))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_what_is_missing(rows, budget, taken):
    """Done and new tiles together cover each unit exactly once, and no tile of several units exceeds the budget."""
    job, _ = job_of((), [(rows, 64)], "F32", "F16")
    done, free = [], [True] * rows
    for start, length in taken:
        stop = min(start + length, rows)
        if start < stop and all(free[start:stop]):
            free[start:stop] = [False] * (stop - start)
            done.append(Tile(start, stop, rows))
    seen = [False] * rows
    for tile in tiles(job, budget, done):
        assert not any(seen[tile.start : tile.stop])
        seen[tile.start : tile.stop] = [True] * (tile.stop - tile.start)
        assert tile.stop - tile.start == 1 or memory(job) * (tile.stop - tile.start) // rows <= budget
    assert seen == free


FITS = {"BF16": [0x477F, 0xC77F, 0x0001, 0x8000], "F16": [0x7BFF, 0x0001], "F32": [0x477FEFFF, 0x80000001]}
TOO_LARGE = {"BF16": [0x4780, 0x7F7F], "F16": [], "F32": [0x477FF000, 0xFF7FFFFF]}
NOT_FINITE = {"BF16": [0x7F80, 0xFF80, 0x7FC0, 0x7F81], "F16": [0x7C00, 0xFC00, 0x7E00, 0x7C01],
              "F32": [0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001]}


def converted(value, kind: str, target: str, **how) -> np.ndarray:
    """Zeros with one value (or its bits, where it is a whole number) in row 1, column 7, as another type."""
    data = np.zeros((3, 256), {"F64": np.uint64, "F32": np.uint32}.get(kind, np.uint16))
    if not isinstance(value, int):
        value = np.array(value, {"F64": np.float64, "F32": np.float32}[kind]).view(data.dtype)
    data[1, 7] = value
    sources, outputs = (Region(0, 0, kind, (3, 256)),), (Region(0, 0, target, (3, 256)),)
    files = Memory(data.tobytes(), outputs[0].nbytes)
    run_tile(TensorJob("t", sources, (), outputs), Tile(0, 1, 1), files, **how)
    return files.output


@pytest.mark.parametrize("kind", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("target", ["F16", "Q8_0"])
@pytest.mark.filterwarnings("error")
def test_values_that_the_target_cannot_hold(kind, target):
    """Bits at the limits: 65520 is the first float32 that rounds to infinity in F16."""
    refused = NOT_FINITE[kind] + (TOO_LARGE[kind] if target == "F16" else TOO_LARGE[kind][1:])
    for bits in FITS[kind] + [b for b in TOO_LARGE[kind] if b not in refused]:
        converted(bits, kind, target)
    if kind != target:
        for bits in refused:
            with pytest.raises(InputError, match="row 1, column 7 has no place in"):
                converted(bits, kind, target)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("target", ["F32", "BF16", "Q8_0"])
def test_a_double_that_float32_does_not_reach(target):
    converted(0.5, "F64", target)
    with pytest.raises(InputError, match="the value inf in row 1, column 7 has no place in"):
        converted(1e300, "F64", target)


@pytest.mark.parametrize("kind", ["F32", "BF16"])
@pytest.mark.parametrize("target", [f for f in KERNELS if FORMATS[f].fields])
def test_a_value_that_no_scale_of_its_block_reaches(kind, target):
    """What is written decodes to numbers; whatever is greater than a value that was refused is refused too."""
    weights = [np.ones(256, np.float32)] if KERNELS[target].weights is Weights.REQUIRED else ()
    shift = 7 if kind == "BF16" else 23
    refused = []
    for power in range(10, 128):
        try:
            made = converted(power + 127 << shift, kind, target, weights=weights)
        except InputError as error:
            refused.append((power, str(error)))
        else:
            assert np.isfinite(dequantize(made.reshape(3, -1), target)).all()
    first = {"MXFP4": 128, "NVFP4": 12}.get(target, refused[0][0] if refused else 0)
    assert [power for power, _ in refused] == list(range(first, 128))
    assert first <= 28 or target == "MXFP4"
    for power, text in refused:
        assert f"the value {2.0**power:.7g} in row 1, column 7 has no place in {target}" in text
        assert "--tensor-type" in text


@pytest.mark.parametrize("target", [f for f in KERNELS if KERNELS[f].weights is not Weights.IGNORED])
def test_weights_that_make_sums_overflow(target):
    """The search then ends in infinity less infinity, whose sign differs between processors: no block of it is written."""
    for size in (1e30, 3e38):
        weights = [np.full(256, size, np.float32)]
        for power in (-100, 0, 20, 27, 67, 100):
            refused = ""
            try:
                made = converted(power + 127 << 23, "F32", target, weights=weights)
            except InputError as error:
                refused = str(error)
            if refused:
                assert f"the value {2.0**power:.7g} in row 1, column 7 has no place in {target}" in refused
            else:
                assert power < 28
                assert np.isfinite(dequantize(made.reshape(3, -1), target)).all()


def test_the_value_that_is_named_is_the_greatest_of_its_block():
    """Its bits alone do not tell which of a block's values is too large; one-dimensional arrays are one row, however cut."""
    data = np.ones((2, 64), np.float32)
    data[1, 40:50] = 1e5
    data[1, 45] = -1e6
    job = TensorJob("t", (Region(0, 0, "F32", (2, 64)),), (), (Region(0, 0, "Q4_0", (2, 64)),))
    for tile in (Tile(0, 1, 1), Tile(1, 2, 2)):
        with pytest.raises(InputError, match="the value -1000000 in row 1, column 45 has no place in Q4_0"):
            run_tile(job, tile, Memory(data.tobytes(), 72))
    vector = TensorJob("t", (Region(0, 0, "F32", (128,)),), (), (Region(0, 0, "Q4_0", (128,)),))
    for tile in (Tile(0, 1, 1), Tile(3, 4, 4)):
        with pytest.raises(InputError, match="the value -1000000 in row 0, column 109 has no place in Q4_0"):
            run_tile(vector, tile, Memory(data.tobytes(), 72))


def test_a_number_that_becomes_infinite_in_bf16():
    assert converted(0x7F7F7FFF, "F32", "BF16").view(np.uint16).max() == 0x7F7F
    with pytest.raises(InputError, match=r"the value 3\.396178e\+38 in row 1, column 7 has no place in BF16"):
        converted(0x7F7F8000, "F32", "BF16")


@pytest.mark.parametrize(("kind", "target"), [("F32", "F32"), ("BF16", "BF16"), ("F16", "F16"), ("F64", "F64"),
                                              ("BF16", "F32"), ("F16", "BF16"), ("F32", "BF16")])
@pytest.mark.parametrize("sign", [0, 1])
def test_infinity_stays_and_nan_only_where_it_may(kind, target, sign):
    """An output that gives back what a file holds has its NaN too."""
    size, width = 8 * FORMATS[kind].block_bytes, FORMATS[target].block_bytes
    infinity = ELEMENT_TYPES[kind].infinity | sign << size - 1
    for sound in (False, True):
        made = converted(infinity, kind, target, sound=sound).view(f"u{width}")
        assert int(made[256 + 7]) == ELEMENT_TYPES[target].infinity | sign << 8 * width - 1
    for nan in (infinity + 1, infinity | (1 << size - 1) - 1):
        converted(nan, kind, target)
        with pytest.raises(InputError, match=f"the value nan in row 1, column 7 has no place in {target}"):
            converted(nan, kind, target, sound=True)


def test_copies_are_looked_at_piece_by_piece():
    """A copy of a block that decodes to NaN is one too; what comes before it, and infinity, does no harm."""
    numbers = np.zeros((3, PIECE), np.float32)
    numbers[0] = -np.inf
    numbers[2, 5] = np.nan
    blocks = np.full((3, PIECE // 18 + 7, 18), 60, np.uint8)
    blocks[2, 3, :2] = 0x00, 0xFE
    for kind, data, cols, place in (("F32", numbers, PIECE, 5), ("Q4_0", blocks, blocks.shape[1] * 32, 3 * 32)):
        region = Region(0, 0, kind, (3, cols))
        job = TensorJob("t", (region,), (), (region,))
        files = Memory(data.tobytes(), data.nbytes)
        run_tile(job, Tile(0, 3, 3), files)
        run_tile(job, Tile(0, 2, 3), files, sound=True)
        assert files.output.tobytes() == data.tobytes()
        for tile in (Tile(0, 3, 3), Tile(2, 3, 3)):
            with pytest.raises(InputError, match=f"the value nan in row 2, column {place} has no place in {kind}"):
                run_tile(job, tile, files, sound=True)
            failed = {}
            assert run_tile(job, tile, files, failed=failed, sound=True) == ()
            assert list(failed) == [0]
    whole = Region(0, 0, "I32", (2, 32))
    run_tile(TensorJob("t", (whole,), (), (whole,)), Tile(0, 1, 1), Memory(b"\xff" * 256, 256), sound=True)


def test_a_quantized_vector_is_cut_between_blocks():
    region = Region(0, 0, "Q8_0", (320,))
    job = TensorJob("v", (region,), (), (region,))
    source = bytes(range(256)) * 2
    files = Memory(source[: region.nbytes], region.nbytes)
    cut = list(tiles(job, 1))
    assert len(cut) == 10
    for tile in cut:
        run_tile(job, tile, files)
    assert files.output.tobytes() == source[: region.nbytes]


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_computed_is_named():
    """Of a decay: zero stands for e to the minus infinity, more than zero for nothing."""
    def convert(value: float) -> np.ndarray:
        data = np.array([-1.0, value], np.float32)
        region = Region(0, 0, "F32", (2,))
        files = Memory(data.tobytes(), 8)
        run_tile(TensorJob("ssm_a", (region,), (NegExp(undo=True),), (region,)), Tile(0, 1, 1), files)
        return files.output.view(np.float32)

    assert convert(0.0).tolist() == [0.0, -np.inf]
    with pytest.raises(UnsupportedError, match="tensor ssm_a: a decay is positive"):
        convert(0.5)
    region, wide = Region(0, 0, "I8", (2, 32)), Region(0, 0, "F32", (2, 32))
    with pytest.raises(UnsupportedError, match="tensor t: I8 holds no quantized weights"):
        run_tile(TensorJob("t", (region,), (Add(1.0),), (wide,)), Tile(0, 1, 1), Memory(bytes(64), 256))
