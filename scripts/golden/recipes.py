"""Ask llama.cpp which tensor types llama-quantize chooses, and keep the answers in tests/golden/recipe_types.json.

    GGUFX_LIBGGML=/path/to/libggml-base.so python scripts/golden/recipes.py

libllama must stand beside libggml-base. The oracle is llama_model_quantize's own dry run on a GGUF of the model's
header (its data is a hole in the file); the types are read from its log. The models are described here, as templates.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import os
import re
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

from ggufx.quant.formats import FORMATS
from ggufx.quant.recipes.recipe import FILE_TYPES

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "recipe_types.json"

ATTENTION = [
    ["blk.{b}.attn_norm.weight", [256], "F32"],
    ["blk.{b}.attn_q.weight", [512, 256]],
    ["blk.{b}.attn_k.weight", [64, 256]],
    ["blk.{b}.attn_v.weight", [64, 256]],
    ["blk.{b}.attn_output.weight", [256, 512]],
]
DENSE = [["blk.{b}.ffn_" + part + ".weight", shape] for part, shape in
         (("gate", [512, 256]), ("up", [512, 256]), ("down", [256, 512]))]  # fmt: skip
EMBED = [["token_embd.weight", [320, 256]], ["output_norm.weight", [256], "F32"]]
OUTPUT = [["output.weight", [320, 256]]]


def experts(count: int) -> list:
    return [
        ["blk.{b}.ffn_gate_inp.weight", [count, 256], "F32"],
        ["blk.{b}.ffn_gate_exps.weight", [count, 512, 256]],
        ["blk.{b}.ffn_up_exps.weight", [count, 512, 256]],
        ["blk.{b}.ffn_down_exps.weight", [count, 256, 512]],
    ]


def model(arch: str, blocks: int, heads: int, heads_kv: int, tensors: list, experts: int = 0, **extra: int) -> dict:
    facts = {"arch": arch, "block_count": blocks, "expert_count": experts}
    return {"facts": facts | {"head_count": heads, "head_count_kv": heads_kv} | extra, "tensors": tensors}


SHARED_EXPERT = [["blk.{b}.ffn_" + part + "_shexp.weight", shape] for part, shape in
                 (("gate", [512, 256]), ("up", [512, 256]), ("down", [256, 512]))]  # fmt: skip
ODD = [  # rows of 32, 40, 64, 96, 320: each fallback of each type
    ["token_embd.weight", [64, 320]],
    ["output.weight", [64, 96]],
    ["blk.{b}.attn_q.weight", [64, 320]],
    ["blk.{b}.attn_k.weight", [64, 96]],
    ["blk.{b}.attn_v.weight", [64, 64]],
    ["blk.{b}.attn_output.weight", [64, 40]],
    ["blk.{b}.ffn_gate.weight", [64, 32]],
    ["blk.{b}.ffn_up.weight", [64, 1]],
    ["blk.{b}.ffn_down.weight", [64, 320]],
    ["blk.{b}.ssm_in.weight", [1, 64]],
    ["blk.{b}.ssm_x.weight", [64, 1, 1]],
]
KEPT = [
    ["blk.{b}." + name, [64, 256]]
    for name in (
        "attn_q.bias", "ffn_gate_inp_shexp.weight", "ssm_conv1d.weight", "ssm_conv1d_q.weight", "shortconv.conv.weight",
        "indexer.k_proj.weight", "indexer.attn_q_b.weight", "time_mix_w1.weight", "time_mix_receptance.weight",
        "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", "altup_proj.weight",
        "laurel_l.weight", "per_layer_inp_gate.weight", "attn_kv_a_mqa.weight", "attn_kv_b.weight", "attn_k_b.weight",
        "attn_v_b.weight", "attn_q_a.weight", "attn_q_b.weight", "cross_attn_v.weight", "nextn.eh_proj.weight",
        "hc_attn_fn.weight", "ssm_beta.weight", "indexer.proj.weight", "x.scale",
    )
] + [["position_embd.weight", [64, 256]], ["token_types.weight", [2, 256]], ["per_layer_model_proj.weight", [64, 256]],
     ["per_layer_token_embd.weight", [320, 256]], ["enc.blk.10.attn_v.weight", [64, 256]],
     ["enc.blk.2.attn_v.weight", [64, 256]]]  # fmt: skip

MODELS = {
    "gqa1": model("llama", 16, 8, 8, EMBED + OUTPUT + ATTENTION + DENSE),
    "gqa4": model("llama", 22, 8, 2, EMBED + OUTPUT + ATTENTION + DENSE),
    "gqa8 tied": model("llama", 5, 8, 1, EMBED + ATTENTION + DENSE),
    "no kv heads": model("llama", 9, 8, 0, EMBED + OUTPUT + ATTENTION + DENSE),
    "70b": model("llama", 80, 8, 2, EMBED + OUTPUT + ATTENTION + DENSE),
    "65b": model("llama", 80, 8, 8, EMBED + OUTPUT + ATTENTION + DENSE),
    "qwen2 80": model("qwen2", 80, 8, 8, EMBED + OUTPUT + ATTENTION + DENSE),
    "experts 2": model("llama", 17, 8, 2, EMBED + OUTPUT + ATTENTION + experts(2), 2),
    "experts 4": model("llama", 16, 8, 8, EMBED + OUTPUT + ATTENTION + experts(4), 4),
    "experts 8": model("llama", 32, 8, 2, EMBED + OUTPUT + ATTENTION + experts(8), 8),
    "experts 16 tied, shared": model("qwen2", 12, 8, 8, EMBED + ATTENTION + experts(16) + SHARED_EXPERT, 16),
    "dense shared": model("llama", 12, 8, 2, EMBED + OUTPUT + ATTENTION + DENSE + SHARED_EXPERT),
    "falcon": model(
        "falcon", 32, 8, 1,
        EMBED + OUTPUT + [["blk.{b}.attn_qkv.weight", [640, 256]], *ATTENTION[-1:], *DENSE[1:]],
    ),
    "odd rows": model("llama", 10, 8, 4, ODD),
    "kept names": model("llama", 3, 8, 4, EMBED + OUTPUT + ATTENTION + DENSE + KEPT),
    "next-token layers": model("llama", 82, 8, 2, EMBED + OUTPUT + ATTENTION + DENSE, nextn_predict_layers=2),
}  # fmt: skip

OPTIONS = {
    "plain": {},
    "imatrix": {"has_imatrix": True},
    "pure": {"pure": True},
    "leave output": {"leave_output_tensor": True},
    "output q8_0, embedding q6_K": {"output_tensor_type": "Q8_0", "token_embedding_type": "Q6_K"},
    "tensor types": {
        "tensor_types": [[r"blk\.[0-3]\.attn_v", "Q8_0"], ["ffn_(up|gate)", "Q5_0"], ["per_layer", "Q4_1"],
                         [r"blk\.1[[:digit:]]\.ffn_down", "F16"]],
        "token_embedding_type": "Q5_1",
    },
}  # fmt: skip


def tensors_of(description: dict) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape in numpy order, source type) of a model: templates with {b} once per block."""
    out = []
    for name, shape, *source in description["tensors"]:
        blocks = range(description["facts"]["block_count"]) if "{b}" in name else (0,)
        out += [(name.format(b=b), tuple(shape), source[0] if source else "BF16") for b in blocks]
    return out


def cases() -> list[tuple[str, str, str]]:
    """(model, options, file type). Every file type for plain and imatrix, the other options on some.

    A dry run accepts a fixed type whose blocks do not fit, which we refuse: such a case is left out.
    """
    names = [name for name in FILE_TYPES if name != "COPY"]
    some = ("Q4_K_M", "Q3_K_L", "IQ3_XS", "IQ2_M", "Q8_0", "F16", "MXFP4_MOE", "TQ2_0")
    return [
        (model_, option, name)
        for model_ in MODELS
        for option in OPTIONS
        if (model_, option) != ("odd rows", "output q8_0, embedding q6_K")
        for name in (names if option in ("plain", "imatrix") else some)
    ]


def digest(types: dict[str, str]) -> list:
    """[sha256 over the sorted lines `name type`, how many tensors have each type]."""
    text = "".join(f"{name} {types[name]}\n" for name in sorted(types))
    return [hashlib.sha256(text.encode()).hexdigest()[:32], dict(sorted(Counter(types.values()).items()))]


def header_only(path: Path, description: dict) -> None:
    """A GGUF of the model whose tensor data is a hole in the file."""
    facts = description["facts"]
    arch = facts["arch"]

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text.encode())) + text.encode()

    numbers = {
        "context_length": 64, "embedding_length": 256, "feed_forward_length": 512, "block_count": facts["block_count"],
        "attention.head_count": facts["head_count"], "attention.head_count_kv": facts["head_count_kv"],
    }  # fmt: skip
    if facts["expert_count"]:
        numbers |= {"expert_count": facts["expert_count"], "expert_used_count": 2}
    if "nextn_predict_layers" in facts:
        numbers["nextn_predict_layers"] = facts["nextn_predict_layers"]
    pairs = [string("general.architecture") + struct.pack("<I", 8) + string(arch)]
    pairs += [string(f"{arch}.{key}") + struct.pack("<II", 4, value) for key, value in numbers.items()]
    for key in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        pairs.append(string(f"{arch}.attention.{key}") + struct.pack("<If", 6, 1e-5))
    infos, offset = [], 0
    for name, shape, source in tensors_of(description):
        infos.append(string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape),
                                                FORMATS[source].id, offset))  # fmt: skip
        elements = math.prod(shape)
        offset += -(-elements * FORMATS[source].block_bytes // 32) * 32
    header = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join(pairs) + b"".join(infos)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(-(-len(header) // 32) * 32 + offset)


class _Params(ctypes.Structure):
    _fields_ = (
        ("nthread", ctypes.c_int32), ("ftype", ctypes.c_int), ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int), ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool), ("only_copy", ctypes.c_bool), ("pure", ctypes.c_bool),
        ("keep_split", ctypes.c_bool), ("dry_run", ctypes.c_bool), ("imatrix", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p), ("tt_overrides", ctypes.c_void_p), ("prune_layers", ctypes.c_void_p),
        ("max_buf_size", ctypes.c_size_t),
    )  # fmt: skip


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int))


class _Importance(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.POINTER(ctypes.c_float)), ("size", ctypes.c_size_t))


class Oracle:
    """libllama's llama_model_quantize as a dry run."""

    def __init__(self, libggml: Path):
        folder = libggml.parent

        def load(stem: str) -> ctypes.CDLL:
            return ctypes.CDLL(str(next(iter(sorted(folder.glob(f"{stem}*.so"))))), mode=ctypes.RTLD_GLOBAL)

        load("libggml-base")
        ggml = load("libggml.")
        self.llama = load("libllama.")
        ggml.ggml_backend_load_all_from_path(str(folder).encode())
        self.llama.llama_model_quantize_default_params.restype = _Params
        self.llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Params)]
        self.llama.llama_model_quantize.restype = ctypes.c_uint32
        self.log: list[bytes] = []
        callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._callback = callback(lambda level, text, data: self.log.append(text))
        self.llama.llama_log_set(self._callback, None)

    def types(self, description: dict, file_type: str, options: dict, folder: Path) -> dict[str, str]:
        """Tensor name -> type. Raises ValueError with the log where llama-quantize refuses."""
        path = folder / f"{hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]}.gguf"
        if not path.exists():
            header_only(path, description)
        params = self.llama.llama_model_quantize_default_params()
        params.ftype, params.dry_run, params.nthread = FILE_TYPES[file_type].number, True, 1
        params.pure = options.get("pure", False)
        params.quantize_output_tensor = not options.get("leave_output_tensor", False)
        for field in ("output_tensor_type", "token_embedding_type"):
            if options.get(field):
                setattr(params, field, FORMATS[options[field]].id)
        pairs = options.get("tensor_types", ())
        overrides = (_Override * (len(pairs) + 1))(*((p.encode(), FORMATS[t].id) for p, t in pairs))
        if pairs:
            params.tt_overrides = ctypes.addressof(overrides)
        one = (ctypes.c_float * 1)(1.0)
        importance = (_Importance * 2)((b"nothing", one, 1))
        if options.get("has_imatrix"):
            params.imatrix = ctypes.addressof(importance)
        self.log.clear()
        status = self.llama.llama_model_quantize(str(path).encode(), b"", ctypes.byref(params))
        log = b"".join(self.log).decode()
        if status:
            raise ValueError(log)
        spelling = {name.lower(): name for name in FORMATS}
        types = {}
        for line in re.findall(r"^\[ *\d+/ *\d+\].*$", re.sub(r"warning: .*|\(WARNING.*|-> falling.*", "", log), re.M):
            name = re.match(r"\[ *\d+/ *\d+\] +(\S+)", line)[1]
            source = re.search(r"type = +(\w+),", line)[1]
            target = re.search(r"\((\w+)\)\s*$", line)
            types[name] = spelling[(target[1] if target else source).lower()]
        return types


def main() -> None:
    library = os.environ.get("GGUFX_LIBGGML")
    if not library:
        sys.exit("set GGUFX_LIBGGML to the path of libggml-base.so")
    oracle = Oracle(Path(library))
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        for model_, option, name in cases():
            key = f"{model_} / {option} / {name}"
            try:
                types = oracle.types(MODELS[model_], name, OPTIONS[option], Path(folder))
                assert types.keys() == {name for name, *_ in tensors_of(MODELS[model_])}, key
                answers[key] = digest(types)
            except ValueError as error:
                with contextlib.suppress(IndexError):
                    print(key, str(error).strip().splitlines()[-1])
                answers[key] = "refused"
    lines = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in answers.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(answers)} cases in {GOLDEN}")


if __name__ == "__main__":
    main()
