"""The decoder of WavTokenizer, as llama.cpp's script writes its folder."""

# fmt: off
from typing import Any

from .rows import Model, Shapes

_W, _F, _K = 64, 96, 32  # width, inner width of ConvNeXt, features of a code


def _shapes(config: dict[str, Any]) -> Shapes:
    out: Shapes = {"backbone.embedding.weight": (config["vocab_size"], _K), "backbone.embed.weight": (_W, _K, 7), "backbone.embed.bias": (_W, 1),
                   "head.out.weight": (config["hidden_size"], _W), "head.out.bias": (config["hidden_size"],)}
    for n in range(6):
        net = f"backbone.posnet.{n}."
        if n in (2, 5):
            out |= {f"{net}norm.{p}": (_W, 1) for p in ("weight", "bias")}
        for name in ("q", "k", "v", "proj_out") if n == 2 else ():
            out |= {f"{net}{name}.weight": (_W, _W, 1), f"{net}{name}.bias": (_W, 1)}
        for i in "12" if n not in (2, 5) else "":
            out |= {f"{net}norm{i}.{p}": (_W, 1) for p in ("weight", "bias")}
            out |= {f"{net}conv{i}.weight": (_W, _W, 3), f"{net}conv{i}.bias": (_W, 1)}
    for n in range(config["n_layer"]):
        block = f"backbone.convnext.{n}."
        out |= {f"{block}dwconv.weight": (_W, 1, 7), f"{block}dwconv.bias": (_W, 1), f"{block}gamma.weight": (_W,),
                f"{block}norm.weight": (_W,), f"{block}norm.bias": (_W,), f"{block}pwconv1.weight": (_F, _W), f"{block}pwconv1.bias": (_F,),
                f"{block}pwconv2.weight": (_W, _F), f"{block}pwconv2.bias": (_W,)}
    for name in ("norm", "final_layer_norm"):
        out |= {f"backbone.{name}.{p}": (_W,) for p in ("weight", "bias")}
    stem = "feature_extractor.encodec.quantizer.vq.layers.0._codebook."
    return out | {stem + "cluster_size": (config["vocab_size"],), stem + "embed_avg": (config["vocab_size"], _K), stem + "inited": (1,)}


ROWS = (
    Model("wavtokenizer", "WavTokenizerDec", "none", {
        "hidden_size": 34, "n_embd_features": _K, "n_ff": _F, "n_head": 1, "layer_norm_epsilon": 1e-6, "group_norm_epsilon": 1e-6,
        "group_norm_groups": 32, "max_position_embeddings": 256, "n_layer": 6, "posnet": {"n_embd": _W, "n_layer": 6},
        "convnext": {"n_embd": _W, "n_layer": 6}, "torch_dtype": "float32"}, "float32", shapes=_shapes, embeds=True),
)
