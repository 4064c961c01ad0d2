"""Whole quantized files: equal to llama-quantize's for every file type, and in one step from the checkpoint.

tests/golden/quantize_files.json holds digests of what libllama made of the same input (scripts/golden/quantize_files.py).
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.planners.hf_to_gguf import GgufOptions, plan_hf_to_gguf
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizeOptions, plan_quantize
from ggufx.converters.run.execute import execute
from ggufx.quant.recipes.recipe import FILE_TYPES
from zoo.quantized import GOLDEN, MODELS, importance, write_legacy

import ggufx

EXPECTED = json.loads(GOLDEN.read_text())
CASES = [(m, t) for m in MODELS for t, row in FILE_TYPES.items() if row.number is not None]


@pytest.fixture(scope="module")
def plain(zoo, tmp_path_factory):
    """`plain(model)`: its GGUF file in its own type, and an importance matrix beside it."""
    root = tmp_path_factory.mktemp("quantize")

    def made(model: str) -> tuple[Path, Path]:
        path, matrix = root / f"{model}.gguf", root / f"{model}.dat"
        if not path.exists():
            ggufx.hf_to_gguf(zoo(model), path, plain=True)
            write_legacy(matrix, importance(path))
        return path, matrix

    return made


def data(path: Path) -> bytes:
    return path.read_bytes()[read_gguf(path).data_offset :]


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    raw = path.read_bytes()
    return {n: (t.type, raw[t.offset : t.offset + t.nbytes]) for n, t in read_gguf(path).tensors.items()}


@pytest.mark.parametrize("outtype", ["auto", "bf16", "f16", "q8_0"])
@pytest.mark.parametrize("options", [{"tensor_types": {"ffn_down": "q4_0", "blk.1.attn_q": "q8_0"}},
                                     {"token_embedding_type": "q5_1"}, {"output_tensor_type": "f32"}], ids=str)
def test_types_of_single_tensors_beside_a_type_of_the_converter(outtype, options, plain, zoo, tmp_path):
    """As in two steps. They were ignored in silence."""
    source, _ = plain("llama")
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "one.gguf", outtype=outtype, plain=True, **options)
    ggufx.quantize(source, tmp_path / "two.gguf", "bf16" if outtype == "auto" else outtype, **options)
    one, two = tensors(tmp_path / "one.gguf"), tensors(tmp_path / "two.gguf")
    assert one == two
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "without.gguf", outtype=outtype, plain=True)
    assert one != tensors(tmp_path / "without.gguf")


@pytest.mark.parametrize("outtype", ["auto", "f16", "q4_0"])
def test_key_values_are_overridden_at_every_type(outtype, zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf", outtype=outtype, override_kv={"general.name": "other", "x.y": 3})
    metadata = read_gguf(tmp_path / "a.gguf").metadata
    assert (metadata["general.name"].data, metadata["x.y"].data) == ("other", 3)


def test_a_matrix_that_no_type_asks_for_is_said(plain, zoo, tmp_path):
    _, matrix = plain("llama")
    plan = ggufx.hf_to_gguf(zoo("llama"), tmp_path / "a.gguf", outtype="f16", imatrix=matrix, dry_run=True)
    assert "the importance matrix is of no use for F16, and left alone" in plan.notes


@pytest.mark.parametrize(("model", "kind"), CASES)
def test_files_are_llama_quantizes(model: str, kind: str, plain, zoo, tmp_path: Path):
    source, _ = plain(model)
    if kind not in EXPECTED[model]["plain"]:
        with pytest.raises(GgufxError):
            plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions(kind))
        return
    execute(plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions(kind)))
    assert hashlib.sha256((tmp_path / "a.gguf").read_bytes()).hexdigest() == EXPECTED[model]["plain"][kind]
    if kind in ("F32", "F16", "BF16", "Q8_0"):
        return  # these are the converter's own types: tests/converters/test_models.py
    execute(plan_hf_to_gguf(zoo(model), tmp_path / "b.gguf", GgufOptions(kind.lower())))
    assert tensors(tmp_path / "b.gguf") == tensors(tmp_path / "a.gguf")


@pytest.mark.parametrize(("model", "kind"), CASES)
def test_files_with_importance_weights(model: str, kind: str, plain, zoo, tmp_path: Path):
    source, matrix = plain(model)
    options = Quantization(imatrix_file=matrix)
    assert kind in EXPECTED[model]["imatrix"] or kind not in EXPECTED[model]["plain"]
    if kind not in EXPECTED[model]["imatrix"]:
        return
    execute(plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions(kind, quantization=options)))
    assert hashlib.sha256(data(tmp_path / "a.gguf")).hexdigest() == EXPECTED[model]["imatrix"][kind]
    keys = read_gguf(tmp_path / "a.gguf").metadata
    assert keys["quantize.imatrix.entries_count"].data == len(importance(source))
    if kind in ("F32", "F16", "BF16", "Q8_0"):
        return
    execute(plan_hf_to_gguf(zoo(model), tmp_path / "b.gguf", GgufOptions(kind.lower(), quantization=options)))
    assert tensors(tmp_path / "b.gguf") == tensors(tmp_path / "a.gguf")


def test_threads_and_memory_change_no_byte(plain, tmp_path: Path):
    source, _ = plain("llama-256")
    for name, threads, memory in (("a", 1, 1 << 30), ("b", 3, 1 << 16)):
        execute(plan_quantize(source, tmp_path / name, QuantizeOptions("q4_k_m")), threads=threads, max_memory=memory)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_requantizing_is_asked_for(plain, tmp_path: Path):
    source, _ = plain("llama-256")
    execute(plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions("q8_0")))
    with pytest.raises(GgufxError, match="allow-requantize"):
        plan_quantize(tmp_path / "a.gguf", tmp_path / "b.gguf", QuantizeOptions("q4_0"))
    allowed = Quantization(allow_requantize=True)
    execute(plan_quantize(tmp_path / "a.gguf", tmp_path / "b.gguf", QuantizeOptions("q4_0", quantization=allowed)))
    assert {t.type for t in read_gguf(tmp_path / "b.gguf").tensors.values()} == {"F32", "Q4_0", "Q6_K"}


def test_overrides_and_types_by_pattern(plain, tmp_path: Path):
    source, _ = plain("llama-256")
    asked = Quantization(tensor_types=(r"ffn_down=q8_0", r"attn_.*=q5_1"), token_embedding_type="q4_1",
                         override_kv=("general.name=str:other", "llama.context_length=int:7", "x.y=bool:true", "x.z=float:0.5"))
    execute(plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions("q4_k_s", quantization=asked)))
    made = read_gguf(tmp_path / "a.gguf")
    assert {n.rpartition(".weight")[0].rpartition(".")[2]: t.type for n, t in made.tensors.items() if "norm" not in n} == {
        "token_embd": "Q4_1", "attn_q": "Q5_1", "attn_k": "Q5_1", "attn_v": "Q5_1", "attn_output": "Q5_1",
        "ffn_gate": "Q4_K", "ffn_up": "Q4_K", "ffn_down": "Q8_0"}
    assert [made.metadata[k].data for k in ("general.name", "llama.context_length", "x.y", "x.z")] == ["other", 7, True, 0.5]


@pytest.mark.parametrize("text", ["nokey", "a=int:x", "a=what:1", "a=bool:yes"])
def test_bad_overrides(text: str, plain, tmp_path: Path):
    asked = Quantization(override_kv=(text,))
    with pytest.raises(GgufxError, match="override-kv") as caught:
        plan_quantize(plain("llama-256")[0], tmp_path / "a", QuantizeOptions("q4_0", quantization=asked))
    assert caught.value.code == "usage"


@pytest.mark.parametrize(("value", "tensor", "kind"), [
    (np.nan, "blk.1.ffn_up.weight", "q4_k_m"), (np.nan, "blk.1.ffn_norm.weight", "q4_k_m"),
    (np.nan, "blk.1.ffn_up.weight", "bf16"), (np.nan, "blk.1.ffn_up.weight", "f32"), (1e6, "blk.1.ffn_up.weight", "q4_0"),
    (1e30, "blk.1.ffn_up.weight", "q4_k_m"), (-1e6, "blk.1.ffn_up.weight", "f16"),
])
def test_a_value_without_a_place_is_named(zoo, tmp_path: Path, value, tensor, kind):
    source = tmp_path / "f32.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), source, outtype="f32", plain=True)
    where = read_gguf(source).tensors[tensor]
    row, cols = (3, where.shape[1]) if len(where.shape) == 2 else (0, 0)
    with open(source, "r+b") as file:
        file.seek(where.offset + 4 * (row * cols + 5))
        file.write(np.float32(value).tobytes())
    said = f"the value {value:.7g} in row {row}, column 5 has no place in "
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        execute(plan_quantize(source, tmp_path / "a.gguf", QuantizeOptions(kind)))
    assert tensor in str(caught.value)
    assert not (tmp_path / "a.gguf").exists()


def test_what_a_file_holds_comes_back(zoo, tmp_path: Path):
    """NaN and infinity too, where the type of the checkpoint has them; a GGUF file is not made of NaN again."""
    source = tmp_path / "f32.gguf"
    ggufx.hf_to_gguf(zoo("llama-256"), source, outtype="f32", plain=True)
    where = read_gguf(source).tensors["blk.1.ffn_up.weight"]
    bits = np.array([0x7FC01234, 0xFF800000, 0x7F800001], np.uint32)
    with open(source, "r+b") as file:
        file.seek(where.offset)
        file.write(bits.tobytes())
    ggufx.gguf_to_hf(source, tmp_path / "hf", dtype="f32")
    name = "model.layers.1.mlp.up_proj.weight"
    with open(tmp_path / "hf" / "model.safetensors", "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start + json.loads(file.read(start - 8))[name]["data_offsets"][0])
        assert file.read(12) == bits.tobytes()
    with pytest.raises(InputError, match="the value nan in row 0, column 0 has no place in F32"):
        ggufx.hf_to_gguf(tmp_path / "hf", tmp_path / "again.gguf", outtype="f32")


def test_the_imatrix_must_fit(plain, tmp_path: Path):
    source, matrix = plain("llama-256")
    other = tmp_path / "other.dat"
    write_legacy(other, {"blk.0.attn_q.weight": np.ones((1, 100), np.float32)})
    with pytest.raises(GgufxError, match=r"attn_q\.weight: the entry .* \(expected 256 values, found 100\)"):
        plan_quantize(source, tmp_path / "a", QuantizeOptions("q4_0", quantization=Quantization(imatrix_file=other)))
    (tmp_path / "cut.dat").write_bytes(matrix.read_bytes()[:-3])
    cut = Quantization(imatrix_file=tmp_path / "cut.dat")
    with pytest.raises(GgufxError, match="no sound importance matrix"):
        plan_quantize(source, tmp_path / "a", QuantizeOptions("q4_0", quantization=cut))


@pytest.mark.parametrize(("model", "kind"), [("llama-256", "q4_k_m"), ("qwen3moe", "q5_0"), ("gemma2", "q8_0")])
def test_decoded_weights_lose_nothing_more(model: str, kind: str, plain, tmp_path: Path):
    """Quantized -> HF in float32 -> GGUF in F32 is the decoded file, exactly."""
    from gguf.quants import dequantize
    from zoo.peers import read_peer_gguf

    source, _ = plain(model)
    execute(plan_quantize(source, tmp_path / "q.gguf", QuantizeOptions(kind)))
    ggufx.gguf_to_hf(tmp_path / "q.gguf", tmp_path / "hf", dtype="f32")
    ggufx.hf_to_gguf(tmp_path / "hf", tmp_path / "f32.gguf", outtype="f32", plain=True)
    again = tensors(tmp_path / "f32.gguf")
    for name, (_, shape, raw) in read_peer_gguf(tmp_path / "q.gguf").tensors.items():
        info = read_gguf(tmp_path / "q.gguf").tensors[name]
        from gguf import GGMLQuantizationType

        if info.type == "F32" and model != "gemma2":  # gemma's norms are an offset from one: (w + 1) - 1 + 1
            assert again[name][1] == raw
        elif info.type not in ("F32", "F16", "BF16"):
            blocks = np.frombuffer(raw, np.uint8).reshape(*shape[:-1], -1)
            assert again[name][1] == dequantize(blocks, GGMLQuantizationType[info.type]).astype(np.float32).tobytes()


def test_bf16_is_rounded_once_and_f16_names_what_overflows(plain, tmp_path: Path):
    source, _ = plain("llama-256")
    execute(plan_quantize(source, tmp_path / "q.gguf", QuantizeOptions("q4_0")))
    ggufx.gguf_to_hf(tmp_path / "q.gguf", tmp_path / "auto")
    from safetensors.torch import load_file

    ggufx.gguf_to_hf(tmp_path / "q.gguf", tmp_path / "f32", dtype="f32")
    once, exact = (load_file(tmp_path / n / "model.safetensors") for n in ("auto", "f32"))
    assert all(once[name].equal(value.bfloat16()) for name, value in exact.items())
    raw = bytearray((tmp_path / "q.gguf").read_bytes())
    where = read_gguf(tmp_path / "q.gguf").tensors["blk.0.ffn_up.weight"]
    raw[where.offset : where.offset + 18] = np.float16(60000).tobytes() + bytes([0] * 16)  # -8 * 60000
    (tmp_path / "big.gguf").write_bytes(raw)
    with pytest.raises(GgufxError, match="-480000") as caught:
        ggufx.gguf_to_hf(tmp_path / "big.gguf", tmp_path / "f16", dtype="f16")
    assert "ffn_up" in str(caught.value)
    assert not (tmp_path / "f16").exists()
