"""Every model of the zoo, end to end: forward bytes, logits in llama.cpp, and both ways back.

`golden` holds what llama.cpp's own converter makes of the same models, faults repaired (`fault` of its row); so these tests
need no peer but the runtime, for the logits.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.arch import SPECS
from zoo import golden, peers
from zoo.files import stored
from zoo.models import MODELS
from zoo.proof import OTHER_WARNINGS, TEXT_PART, as_floats, beside, forward, other_values, runtime, table_names, text_settings

import ggufx

Zoo = Callable[[str], Path]


def test_every_class_of_the_tables_is_in_the_zoo():
    """A class around a language model that several tables have, or under another name, is shown by one of its forms."""
    tried = [golden.table(row) for row in MODELS.values()]
    shown = {id(spec) for spec in tried}
    around = [(spec.whole.aliases, spec.whole.parts) for spec in tried if spec.whole]
    assert [spec.classes[0] for spec in SPECS
            if id(spec) not in shown and not (spec.whole and (spec.whole.aliases, spec.whole.parts) in around)] == []


@pytest.mark.parametrize("name", MODELS)
def test_forward_bytes_are_llama_cpps(zoo: Zoo, tmp_path: Path, name: str):
    if name not in golden.names():
        pytest.skip(f"llama.cpp's converter {MODELS[name].fault.converter}")
    for outtype in MODELS[name].fault.outtypes:
        made = tmp_path / f"{outtype}.gguf"
        ggufx.hf_to_gguf(zoo(name), made, outtype=outtype, **beside(name, zoo))
        assert golden.differences(made, name, outtype) == []


@pytest.mark.parametrize("name", MODELS)
def test_own_files_come_back_bit_for_bit(zoo: Zoo, tmp_path: Path, name: str):
    ggufx.hf_to_gguf(zoo(name), tmp_path / "own.gguf", outtype="f32" if MODELS[name].folded else "auto",
                     **beside(name, zoo))
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "back")
    back = stored(tmp_path / "back")
    source, config = as_floats(MODELS[name], zoo(name))
    made = json.loads((tmp_path / "back" / "config.json").read_text())
    if name in TEXT_PART:
        spec = golden.table(MODELS[name])
        if spec.whole.layout:  # its own file is what the text part's class makes
            ggufx.hf_to_gguf(tmp_path / "back", tmp_path / "again.gguf", outtype="f32" if MODELS[name].folded else "auto")
            again, own = (peers.read_peer_gguf(tmp_path / f"{n}.gguf").tensors for n in ("again", "own"))
            assert again == own
        else:
            assert {n: v for n, v in table_names(spec, source).items() if n in back} == back
        assert made["architectures"] == [spec.whole.text.classes[0]]
        settings = text_settings(config)
        sections = ("mrope", "xdrope")  # words that the text part's class does not know; the logits judge what stands for them
        assert all(made[key] == value for key, value in settings.items() if key != "rope_scaling"
                   or not any(word in str(value) for word in sections))
        assert made.get("tie_word_embeddings") == config.get("tie_word_embeddings", made.get("tie_word_embeddings"))
        if not MODELS[name].shapes:
            assert np.isfinite(forward(name, tmp_path / "back")).all()
            assert np.array_equal(forward(name, tmp_path / "back"), forward(name, zoo(name)))
        return
    assert back == source
    assert made == config
    generation = "generation_config.json"
    if (zoo(name) / generation).exists():
        assert (tmp_path / "back" / generation).read_bytes() == (zoo(name) / generation).read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_files_of_others_come_back(zoo: Zoo, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture):
    """From standard keys alone: transformers loads the folder without a warning and computes the same numbers."""
    ggufx.hf_to_gguf(zoo(name), tmp_path / "plain.gguf", outtype="f32" if MODELS[name].folded else "auto", plain=True,
                     **beside(name, zoo))
    plan = ggufx.gguf_to_hf(tmp_path / "plain.gguf", tmp_path / "back", dry_run=True)
    ggufx.gguf_to_hf(tmp_path / "plain.gguf", tmp_path / "back")
    assert any("no key for it" in note for note in plan.notes)
    from transformers import AutoTokenizer
    if MODELS[name].lost:
        pytest.skip(MODELS[name].lost)
    if MODELS[name].shapes:
        assert other_values(golden.table(MODELS[name]), MODELS[name], zoo(name), tmp_path / "back") == []
        return
    with caplog.at_level(logging.WARNING):
        logging.getLogger("transformers").propagate = True
        back = forward(name, tmp_path / "back")
        AutoTokenizer.from_pretrained(tmp_path / "back")
    said = dict.fromkeys(r.getMessage() for r in caplog.records)  # the first in a process is heard twice
    warned = [message for message in said if not any(words in message for words in OTHER_WARNINGS)]
    if MODELS[name].extra:  # tensors that transformers does not know
        warned = [message for message in warned if "UNEXPECTED" not in message or "MISSING" in message]
    assert warned == ([] if not MODELS[name].embeds or "pooler" not in str(plan.notes) else warned[:1])
    if MODELS[name].rounded:
        np.testing.assert_allclose(back, forward(name, zoo(name)), atol=1e-4)
    else:
        assert np.array_equal(back, forward(name, zoo(name)))


def test_another_dtype_for_packed_weights(zoo: Zoo, tmp_path: Path):
    """MXFP4 blocks decoded on the way back: float32 values, and a config that does not call them packed."""
    ggufx.hf_to_gguf(zoo("gptoss-mxfp4"), tmp_path / "own.gguf")
    ggufx.gguf_to_hf(tmp_path / "own.gguf", tmp_path / "f32", dtype="f32")
    assert {kind for kind, _, _ in stored(tmp_path / "f32").values()} == {"torch.float32"}
    config = json.loads((tmp_path / "f32" / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    ggufx.hf_to_gguf(tmp_path / "f32", tmp_path / "again.gguf", outtype="f32", plain=True)
    from gguf.quants import dequantize
    again, own = (peers.read_peer_gguf(tmp_path / f"{n}.gguf").tensors for n in ("again", "own"))
    for name, (kind, shape, raw) in own.items():
        if kind == "MXFP4":
            from gguf import GGMLQuantizationType
            blocks = np.frombuffer(raw, np.uint8).reshape(*shape[:-1], -1)
            assert dequantize(blocks, GGMLQuantizationType.MXFP4).astype(np.float32).tobytes() == again[name][2]


@pytest.mark.skipif(peers.missing_runtime() is not None, reason=f"no llama.cpp: {peers.missing_runtime()}")
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_what_transformers_does(zoo: Zoo, tmp_path: Path, name: str):
    row = MODELS[name]
    if row.fault.runtime:
        pytest.skip(f"llama.cpp's runtime {row.fault.runtime}")
    ggufx.hf_to_gguf(zoo(name), tmp_path / "f32.gguf", outtype="f32", **beside(name, zoo))
    got = runtime(name, tmp_path / "f32.gguf", **beside(name, zoo))
    if row.shapes:  # transformers does not have the class
        assert np.isfinite(got).all()
        return
    assert peers.relative_error(got, forward(name, zoo(name))) < row.stored_tolerance
