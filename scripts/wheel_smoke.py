"""What an installed ggufx must do, without this checkout: a model made here of nothing but numpy, to GGUF and back.

Run by scripts/wheel in an empty environment.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import ggufx

WIDTH, HIDDEN, WORDS = 64, 128, 264


def checkpoint(folder: Path) -> Path:
    """A Llama of one block, and a byte-level tokenizer."""
    folder.mkdir()
    rng = np.random.Generator(np.random.PCG64(0))
    shapes = {"model.embed_tokens": (WORDS, WIDTH), "lm_head": (WORDS, WIDTH), "model.norm": (WIDTH,)}
    block = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH), "self_attn.v_proj": (WIDTH, WIDTH),
             "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH),
             "mlp.down_proj": (WIDTH, HIDDEN), "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    shapes |= {f"model.layers.0.{name}": shape for name, shape in block.items()}
    weights = {f"{n}.weight": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": HIDDEN,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": WORDS, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
        "torch_dtype": "float32", "bos_token_id": 256, "eos_token_id": 257}), encoding="utf-8")
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    special = [{"id": 256 + i, "content": f"<s{i}>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for i in range(WORDS - 256)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(letters)}, "merges": []}}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s0>", "eos_token": "<s1>"}), encoding="utf-8")
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = checkpoint(work / "model")
        ggufx.hf_to_gguf(model, work / "a.gguf")
        ggufx.quantize(work / "a.gguf", work / "q.gguf", "q4_0")
        ggufx.gguf_to_hf(work / "a.gguf", work / "back")
        assert ggufx.verify(model, work / "q.gguf").same
        before, after = load_file(model / "model.safetensors"), load_file(work / "back" / "model.safetensors")
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert ggufx.inspect(work / "q.gguf").architecture == "llama"
    assert Path(ggufx.__file__).with_name("py.typed").exists()
    assert "torch" not in sys.modules


if __name__ == "__main__":
    main()
