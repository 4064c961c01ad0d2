"""Where llama.cpp's tokenizers differ, and checkpoints changed so that its converter gets them right (`Fault` of a row)."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

from .kinds import vocab
from .models import Fault

# Where llama.cpp cuts text otherwise than the model's tokenizer.json: kind -> what it does, and in which texts.
_RUN, _MASK = "cuts U+2581 out of the text as the space it stands for", "does not let <mask> swallow the space before it"
_NFC = "does not normalise (NFC)"
_SPACE = "puts a space before every text and every part behind a special token, tokenizer.json only where there is none"
RUNTIME_TOKENS: dict[str, tuple[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("qwen2", "qwen35", "dots3", "neox", "mpt"), (_NFC, lambda text: not unicodedata.is_normalized("NFC", text))),
    **dict.fromkeys(("gemma", "gemma-json"), (_RUN, lambda text: "▁▁" in text)),
    **dict.fromkeys(("xlmr", "xlmr-json", "camembert", "t5"), (_RUN, lambda text: "▁" in text)),
    "llama-spm-json": (_SPACE, lambda text: text.startswith((" ", "▁")) or "> " in text),
    "roberta": (_MASK, lambda text: " <mask>" in text),
    "plamo2": ("drops a byte order mark", lambda text: text.startswith("\ufeff")),
    "rwkv": ("takes <s> in a text for its token", lambda text: "<s>" in text),
    "modernbert": (f"{_NFC}, and {_MASK.replace('<mask>', '[MASK]')}",
                   lambda text: not unicodedata.is_normalized("NFC", text) or " [MASK]" in text),
}


def repaired(folder: Path, fault: Fault, copy: Path) -> Path:
    """The checkpoint as llama.cpp's converter needs it: `folder` itself, or a changed copy in the new folder `copy`."""
    if not (fault.config or fault.drop or fault.model or fault.index):
        return folder
    shutil.copytree(folder, copy)
    if fault.model:
        name, data = vocab(fault.model).model or ("", b"")
        (copy / name).write_bytes(data)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | fault.config), encoding="utf-8")
    if fault.index:
        from .build import header

        names = header(copy / "model.safetensors")
        (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, "model.safetensors")}))
    if fault.drop:
        from safetensors.torch import load_file, save_file

        path = copy / "model.safetensors"
        tensors = {name: tensor for name, tensor in load_file(path).items() if not name.endswith(fault.drop)}
        save_file(tensors, path, metadata={"format": "pt"})
    return copy
