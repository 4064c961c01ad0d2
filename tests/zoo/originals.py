"""Models of the zoo in their makers' own layouts: Meta's, a file per rank, and Mistral's. Written from what the layouts say, by
torch alone, so that nothing of what is tested takes part."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

NAMES = {
    "language_model.": "", "vision_tower.": "vision_encoder.", "multi_modal_projector.": "patch_merger.",
    "model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output", "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2", "mlp.up_proj": "feed_forward.w3", "block_sparse_moe.gate": "gate",
    "block_sparse_moe.experts": "experts", "model.layers": "layers",
}
COLUMNS = ("attention.wo.", "feed_forward.w2.")
WHOLE = ("norm.weight", "attention_norm.weight", "ffn_norm.weight")


def native(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a Hugging Face folder under the makers' names, rows of q and k in neighbouring pairs."""
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    out = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if ".q_proj." in name or ".k_proj." in name:
            tensor = tensor.reshape(-1, 2, head // 2, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        for hugging_face, own in NAMES.items():
            name = name.replace(hugging_face, own)
        out[name] = tensor.contiguous()
    return out


def meta(folder: Path, out: Path, ranks: int = 1, by_columns: bool = True, params: dict[str, Any] | None = None) -> Path:
    """A Hugging Face folder in Meta's layout, without a tokenizer. `by_columns`: ranks share the embedding's columns, as of
    Llama 1 and 2, else its rows. `params`: changes of params.json, None takes a key out."""
    out.mkdir(parents=True)
    tensors = native(folder)
    config = json.loads((folder / "config.json").read_text())
    for rank in range(ranks):
        shard = {name: piece(name, tensor, rank, ranks, by_columns) for name, tensor in tensors.items()}
        shard["rope.freqs"] = torch.zeros(config["hidden_size"] // config["num_attention_heads"] // 2)
        torch.save(shard, out / f"consolidated.{rank:02d}.pth")
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    made = {"dim": config["hidden_size"], "n_layers": config["num_hidden_layers"], "n_heads": config["num_attention_heads"],
            "n_kv_heads": config["num_key_value_heads"], "multiple_of": 32, "ffn_dim_multiplier": 0.5, "norm_eps": config["rms_norm_eps"], "vocab_size": -1,
            "rope_theta": None if theta == 10000 else theta} | (params or {})
    write(out / "params.json", {key: value for key, value in made.items() if value is not None})
    return out


def piece(name: str, tensor: torch.Tensor, rank: int, ranks: int, by_columns: bool) -> torch.Tensor:
    """What a rank holds of a tensor."""
    if name.endswith(WHOLE):
        return tensor
    columns = any(part in name for part in COLUMNS) or (by_columns and name.startswith("tok_embeddings"))
    return tensor.chunk(ranks, int(columns))[rank].clone()


def mistral(folder: Path, out: Path, parts: int = 1, params: dict[str, Any] | None = None) -> Path:
    """A Hugging Face folder in Mistral's layout, without a tokenizer."""
    out.mkdir(parents=True)
    tensors = list(native(folder).items())
    for part in range(parts):
        name = f"consolidated-{part + 1:05d}-of-{parts:05d}.safetensors" if parts > 1 else "consolidated.safetensors"
        save_file(dict(tensors[part::parts]), out / name)
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    made = {"dim": config["hidden_size"], "n_layers": config["num_hidden_layers"], "head_dim": config.get("head_dim"),
            "hidden_dim": config["intermediate_size"], "n_heads": config["num_attention_heads"],
            "n_kv_heads": config["num_key_value_heads"], "norm_eps": config["rms_norm_eps"], "vocab_size": config["vocab_size"],
            "rope_theta": config["rope_parameters"]["rope_theta"], "max_seq_len": config["max_position_embeddings"],
            "sliding_window": config.get("sliding_window")}
    if "num_local_experts" in config:
        made["moe"] = {"num_experts": config["num_local_experts"], "num_experts_per_tok": config["num_experts_per_tok"]}
    if (rope := config["rope_parameters"])["rope_type"] == "yarn":
        original = rope["original_max_position_embeddings"]
        made["yarn"] = {"factor": rope["factor"], "alpha": rope["beta_slow"], "beta": rope["beta_fast"], "apply_scale": False,
                        "original_max_position_embeddings": original}
        made["llama_4_scaling"] = {"beta": rope["llama_4_scaling_beta"], "original_max_position_embeddings": original}
    if "output.weight" not in dict(tensors):
        made["tied_embeddings"] = True
    write(out / "params.json", made | (params or {}))
    return out


def ranks_file(folder: Path, out: Path) -> int:
    """A rank file of a byte-level tokenizer.json: its pieces by id up to the first added token. How many there are."""
    document = json.loads((folder / "tokenizer.json").read_text())
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {chr(byte): byte for byte in printed}
    spelled |= {chr(256 + i): byte for i, byte in enumerate(b for b in range(256) if b not in printed)}
    first = min(token["id"] for token in document["added_tokens"])
    pieces = sorted(document["model"]["vocab"].items(), key=lambda item: item[1])[:first]
    lines = [base64.b64encode(bytes(spelled[c] for c in text)) + b" %d\n" % rank for rank, (text, _) in enumerate(pieces)]
    out.write_bytes(b"".join(lines))
    return first


def copy(folder: Path, out: Path, *names: str) -> None:
    for name in names:
        shutil.copyfile(folder / name, out / name)


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data))


def padded(folder: Path, out: Path, rows: int, **config: Any) -> Path:
    """A copy of a Hugging Face folder whose vocabulary has a multiple of `rows` rows, which ranks can share; without
    tokenizer.json where there is a SentencePiece file. `config`: further changes of config.json."""
    shutil.copytree(folder, out)
    tensors = load_file(out / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            more = -len(tensors[name]) % rows
            tensors[name] = torch.cat([tensors[name], tensors[name].new_zeros(more, tensors[name].shape[1])])
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    made = json.loads((out / "config.json").read_text())
    write(out / "config.json", made | {"vocab_size": len(tensors["model.embed_tokens.weight"])} | config)
    if (out / "tokenizer.model").exists():
        (out / "tokenizer.json").unlink()
    return out
