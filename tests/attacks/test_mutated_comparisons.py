"""Models of which one piece is changed, where they are not planned but used: verified, quantized, converted to the end."""

from __future__ import annotations

import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import ValueType, array, boolean, f32, string, strings, u32
from ggufx.converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.run.execute import execute
from ggufx.converters.verify.verify import VerifyOptions, verify

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # numpy's word for numbers gone wrong
KEYS = ("general.architecture", "general.type", "tokenizer.ggml.model", "llama.attention.head_count", "llama.embedding_length",
        "llama.block_count", "llama.attention.key_length")
VALUES = (string("six"), u32(0), f32(float("inf")), f32(float("nan")), boolean(True), strings(["a", "b"]), strings([]),
          array(ValueType.INT32, [1, 2]), array(ValueType.FLOAT32, []))
TYPES = ("I8", "I32", "F64", "Q8_0")


def changed(source, target, key=None, value=None, tensor=None, kind=None):
    """A copy of a GGUF file with another key-value, or with a tensor of another type (over whatever bytes)."""
    read, raw = read_gguf(source), source.read_bytes()
    metadata = {**read.metadata, **({key: value} if key else {})}
    laid = layout((t.name, kind if t.name == tensor else t.type, t.shape) for t in read.tensors.values())
    header = encode_header(metadata, laid)
    with open(target, "wb") as file:
        file.write(header)
        for place, old in zip(laid, read.tensors.values(), strict=True):
            file.seek(len(header) + place.offset)
            file.write(raw[old.offset : old.offset + old.nbytes][: place.nbytes].ljust(place.nbytes, b"\x7f"))
    return target


def use(path, sound, folder, tmp_path):
    """Everything that reads such a file; our own errors only."""
    again = Quantization(allow_requantize=True)
    calls = (
        lambda: verify(path, sound, VerifyOptions()),
        lambda: verify(sound, path, VerifyOptions()),
        lambda: verify(folder, path, VerifyOptions()),
        lambda: execute(QuantizePlanner(path, tmp_path / "q.gguf", again).plan("q4_0"), force=True),
        lambda: execute(plan_gguf_to_hf(path, tmp_path / "back", HfOptions()), force=True),
    )
    for call in calls:
        try:
            call()
        except GgufxError as error:
            assert all(line.isprintable() for line in str(error).split("\n"))  # noqa: PT017 some pass


@pytest.fixture(scope="module")
def sound(zoo, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "m.gguf"
    execute(plan_hf_to_gguf(zoo("llama"), path, GgufOptions(plain=True)))
    return path


@pytest.mark.parametrize("key", KEYS)
def test_key_values(zoo, sound, tmp_path, key):
    for value in VALUES:
        use(changed(sound, tmp_path / "m.gguf", key, value), sound, zoo("llama"), tmp_path)


@pytest.mark.parametrize("tensor", ["blk.0.attn_norm.weight", "blk.0.attn_q.weight", "token_embd.weight"])
def test_tensors_of_other_types(zoo, sound, tmp_path, tensor):
    for kind in TYPES:
        use(changed(sound, tmp_path / "m.gguf", tensor=tensor, kind=kind), sound, zoo("llama"), tmp_path)


def test_an_architecture_is_a_name(sound, tmp_path):
    path = changed(sound, tmp_path / "m.gguf", "general.architecture", u32(1))
    with pytest.raises(GgufxError, match=r"no general\.architecture"):
        QuantizePlanner(path, tmp_path / "q.gguf", Quantization())
    path = changed(sound, tmp_path / "m.gguf", "llama.block_count", f32(float("inf")))
    with pytest.raises(GgufxError, match="a number of blocks, heads or experts cannot be read"):
        QuantizePlanner(path, tmp_path / "q.gguf", Quantization()).plan("q4_0")
