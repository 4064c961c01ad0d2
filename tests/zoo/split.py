"""Files that are judged against gguf-split: tensors whose sizes lie on both sides of every rule, and how each is cut."""

from pathlib import Path

from ggufx.converters.io.gguf import encode_header, layout, padded
from ggufx.converters.io.values import Metadata, f32, i32, string, strings, u16, u32

GOLDEN = Path(__file__).parents[1] / "golden" / "split.json"
KEYS: Metadata = {"general.architecture": string("llama"), "general.name": string("cut"), "llama.block_count": u32(1),
                  "llama.rope.freq_base": f32(10000.0), "tokenizer.ggml.tokens": strings(["a", "ä"])}
# Of one megabyte, gguf-split's smallest limit: two tensors fill it exactly; or only without their padding; one exceeds it.
TENSORS = [("a", "F32", (125000,)), ("b", "F16", (2, 125000)), ("c", "F16", (249995,)), ("d", "F32", (125000,)),
           ("e", "F32", (1,)), ("f", "Q8_0", (40, 32000)), ("g", "F16", (3,)), ("h", "Q4_K", (3, 256))]
FILES: dict[str, Metadata] = {
    "plain": KEYS,
    "joined before": {**KEYS, "split.no": u16(0), "split.tensors.count": i32(9), "split.count": u16(0), "zuletzt": u32(1)},
}
CUTS: dict[str, tuple[str, dict[str, int]]] = {  # by name: gguf-split's options, ours
    "one": ("--split-max-tensors 1", {"max_tensors": 1}), "three": ("--split-max-tensors 3", {"max_tensors": 3}),
    "all": ("--split-max-tensors 8", {"max_tensors": 8}), "megabyte": ("--split-max-size 1M", {"max_bytes": 10**6}),
    "two megabytes": ("--split-max-size 2M", {"max_bytes": 2 * 10**6}),
    "three, first empty": ("--no-tensor-first-split --split-max-tensors 3", {"max_tensors": 3, "first_empty": True}),
}  # fmt: skip


def write(path: Path, keys: Metadata = KEYS, alignment: int = 32) -> Path:
    """A GGUF file of these key-values and TENSORS, whose bytes are all different from zero."""
    laid = layout(TENSORS, alignment)
    with path.open("wb") as file:
        file.write(encode_header(keys, laid))
        for number, tensor in enumerate(laid, 1):
            file.write(bytes([number]) * tensor.nbytes + bytes(padded(tensor.nbytes, alignment) - tensor.nbytes))
    return path
