"""config.json in one canonical form, whatever transformers version wrote it.

Half of the models on the Hub carry transformers-4 style configs (`rope_theta`, `rope_scaling`, `torch_dtype`), half
transformers-5 style (`rope_parameters`, `dtype`). Canonical: text settings at the root, rotary settings in
`rope_parameters`, the class's defaults filled in. Source: transformers 5 `modeling_rope_utils` and `configuration_*`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import InputError
from .facts import MISSING, Config, Settings, get_path, set_path
from .hparam_rules import Seen
from .spec import ArchSpec, Whole

TEXT_CONFIGS = ("text_config", "llm_config", "lm_config", "language_config", "thinker_config.text_config",
                "transformer_layer_config", "lfm", "talker_config")
MAX_BLOCKS = 1 << 14  # the deepest known models have some hundreds
MAX_EXPERTS = 1 << 14  # so have the widest
BLOCK_COUNTS = ("block_count", "decoder_block_count", "nextn_predict_layers", "vision.block_count", "audio.block_count",
                "vision.sam.block_count", "gen.audio.block_count")  # keys below the architecture's prefix
LAYER_KINDS = ("full_attention", "sliding_attention")
UNSCALED_ROPE = ("rope_type", "rope_theta", "partial_rotary_factor")  # what settings without scaling consist of
UNSCALED_MROPE = "mrope"  # what transformers 4 calls "default" where rotary dimensions have sections
TRANSFORMERS_4_ROPE = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")


def architecture_of(config: Mapping[str, Any], file: str) -> str:
    """The class name in config.json."""
    classes = config.get("architectures")
    if not isinstance(classes, list) or not classes or not isinstance(classes[0], str):
        raise InputError("config.json names no architecture", file=file, expected='"architectures": ["..."]',
                         found=classes)
    return classes[0]


def canonical(config: Mapping[str, Any], spec: ArchSpec, file: str, tensors: Collection[str] = ()) -> Config:
    """A new canonical config. `tensors`: the checkpoint's names, where there are weights beside the config.

    InputError where a setting has the wrong type.
    """
    out = Settings(config)
    if inner := text_settings(config):
        out.update({k: v for k, v in inner.items() if v is not None or k not in out})
        if "tie_word_embeddings" in config:  # the whole model's class ties its head, whatever its text part says
            out["tie_word_embeddings"] = config["tie_word_embeddings"]
    if (dtype := out.pop("torch_dtype", None)) is not None:
        out.setdefault("dtype", dtype)
    for rule in spec.hparams:
        for path in rule.fills if {*rule.writes} & {*BLOCK_COUNTS} else ():
            count = get_path(out, path)
            check_block_count(None if count is MISSING else count, path, file)
    for key, value in spec.defaults.items():
        if out.get(key) is None:
            out[key] = _computed(value, out) if callable(value) else value
    for rule in spec.hparams if tensors else ():
        if isinstance(rule, Seen) and rule.names is not None:
            out[rule.hf] = rule.names(out, tensors)
    for constant in spec.constants.values():
        if get_path(out, constant.hf) is MISSING and constant.default is not None:
            set_path(out, constant.hf, constant.default)
    out["rope_parameters"] = _rope_parameters(out, spec, file)
    return out


def text_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a text part that stand apart from those of the whole model; none where there are no others."""
    return next((inner for path in TEXT_CONFIGS if isinstance(inner := get_path(config, path), Mapping)), {})


def of_text_part(config: Mapping[str, Any], whole: Whole) -> Config:
    """The config.json of a multimodal model's text part alone, as its own class has it: also what it leaves to defaults."""
    apart = {key: config[key] for key in ("dtype", "torch_dtype") if key in config}
    tied = {key: config[key] for key in ("tie_word_embeddings",) if key in config}  # the whole model's word holds
    inner = text_settings(config) or {
        k: v for k, v in config.items() if k == "quantization_config" or not k.endswith("_config")}
    out: Config = {**apart, **whole.settings, **inner, **tied, "architectures": [whole.text.classes[0]],
                   "model_type": whole.text.model_type}
    out.update({key: value(out) for key, value in out.items() if callable(value)})
    rope = out.get("rope_parameters")
    based = isinstance(rope, Mapping) and any(key in rope for key in ("rope_theta", *LAYER_KINDS))
    bases = ("rope_theta", whole.text.local_rope_base) if based else ()
    for key, value in whole.text.defaults.items():  # the whole's class's: those of its text part's may be others
        made = _computed(value, out) if callable(value) else value
        if key not in out and made is not None and key not in bases:
            out[key] = made
    scaling = out.get("rope_scaling")
    if isinstance(scaling, Mapping) and UNSCALED_MROPE in (scaling.get("type"), scaling.get("rope_type")):
        out["rope_scaling"] = None
    elif isinstance(scaling, Mapping) and "xdrope" in (scaling.get("type"), scaling.get("rope_type")):
        # Hunyuan's word for a stretched base shared among axes, which the class of text alone calls dynamic.
        kept = {key: value for key, value in scaling.items() if key not in ("type", "xdrope_section")}
        out["rope_scaling"] = {**kept, "rope_type": "dynamic"}
    return out


def check_block_count(count: Any, key: str, file: str) -> None:
    """InputError for what is no number of blocks. Tables are worked through block by block, whatever it says."""
    _check_count(count, key, "blocks", MAX_BLOCKS, file)


def check_expert_count(count: Any, key: str, file: str) -> None:
    """InputError for what is no number of experts: each of them is a tensor of every block on the way back."""
    _check_count(count, key, "experts", MAX_EXPERTS, file)


def _check_count(count: Any, key: str, what: str, most: int, file: str) -> None:
    if count is not None and not (isinstance(count, int) and 0 <= count <= most):
        raise InputError(f"{key} is no number of {what}", file=file, expected=f"0 to {most}", found=count)


def _computed(default: Callable[[Config], Any], config: Config) -> Any:
    """None where what it is computed from is missing or of another type: that is reported by its own rule."""
    try:
        return default(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _rope_parameters(config: Config, spec: ArchSpec, file: str) -> dict[str, Any]:
    """`rope_parameters` of transformers 5, from either style."""
    given = config.get("rope_parameters") or {}
    if scaling := config.get("rope_scaling"):
        given = _beside(given, scaling, config, spec, file) if given else scaling
    for settings in (given, *(given.get(kind) or {} for kind in LAYER_KINDS if isinstance(given, Mapping))):
        if not isinstance(settings, Mapping):
            raise InputError("rope_parameters must be an object", file=file, found=type(settings).__name__)
    if all(isinstance(given.get(kind), Mapping) for kind in ("main", "compress")):  # DeepSeek V4: only the latter is scaled
        given = {**given["compress"], "rope_theta": given["main"].get("rope_theta", 10000.0)}
    theta = config.get("rope_theta", 10000.0)
    if spec.local_rope_base in config:  # the key is from before transformers 5
        both = given if any(kind in given for kind in LAYER_KINDS) else {"full_attention": given}
        return {
            "full_attention": _one_rope(both.get("full_attention") or {}, config, theta),
            "sliding_attention": _one_rope(both.get("sliding_attention") or {}, {}, config[spec.local_rope_base]),
        }
    if any(kind in given for kind in LAYER_KINDS):
        return {kind: _one_rope(params or {}, config, theta) for kind, params in given.items()}
    return _one_rope(given, config, theta)


def _beside(parameters: Any, scaling: Any, config: Config, spec: ArchSpec, file: str) -> Any:
    """`rope_scaling` beside `rope_parameters`, as people add it to a model of transformers 5: it takes their place there.

    InputError where it would also take away the base, or the settings of the layers with sliding attention.
    """
    if not isinstance(parameters, Mapping) or not isinstance(scaling, Mapping):
        return scaling
    both = "rope_scaling stands beside rope_parameters, and takes its place in transformers"
    hint = "Write all rotary settings into rope_parameters, and leave rope_scaling out."
    if any(kind in parameters for kind in LAYER_KINDS):
        if not spec.local_rope_base:
            raise InputError(f"{both}, for all kinds of layers", file=file, hint=hint)
        return {**parameters, "full_attention": {**(parameters.get("full_attention") or {}), **scaling}}
    base = parameters.get("rope_theta")
    taken = scaling.get("rope_theta", config.get("rope_theta", 10000.0))
    if base is not None and base != taken:
        raise InputError(f"{both}, with another rope_theta", file=file, expected=base, found=taken, hint=hint)
    return scaling


def _one_rope(given: Mapping[str, Any], config: Config, theta: float) -> dict[str, Any]:
    rope = dict(given)
    kind = rope.pop("type", None)
    rope.setdefault("rope_type", kind or "default")
    if rope["rope_type"] == UNSCALED_MROPE:
        rope["rope_type"] = "default"
    rope.setdefault("rope_theta", theta)
    for key in ("partial_rotary_factor", "original_max_position_embeddings"):
        if config.get(key) is not None:
            rope.setdefault(key, config[key])
    return rope


def full_attention_rope(config: Config) -> dict[str, Any]:
    """The rotary settings of the layers with full attention: of all layers, unless the model has two kinds."""
    rope = config["rope_parameters"]
    return rope.get("full_attention", rope)


def hub_style(config: Config, spec: ArchSpec) -> Config:
    """A canonical config as it is written: in the style that transformers 4 and 5 both read.

    Two kinds of rotary settings by layer exist in transformers 5 only, but for Gemma 3, and so do its newest classes.
    """
    out = _hub_rope(config, spec)
    if not spec.inside:
        return out
    apart = {key: out.pop(key) for key in ("architectures", "dtype", "transformers_version", *spec.outside) if key in out}
    return {**apart, "model_type": spec.model_type, "text_config": {**out, "model_type": spec.inside}}


def _hub_rope(config: Config, spec: ArchSpec) -> Config:
    """The config with its rotary settings as transformers 4 has them, where it can have them."""
    out = dict(config)
    rope = out.pop("rope_parameters", None)
    if rope is None:
        return out
    if spec.local_rope_base and "sliding_attention" in rope:
        out[spec.local_rope_base] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    if (any(kind in rope for kind in (*LAYER_KINDS, "mrope_section"))
            or rope.get("rope_type") not in TRANSFORMERS_4_ROPE):
        out["rope_parameters"] = rope
        return out
    scaling = dict(rope)
    out["rope_theta"] = scaling.pop("rope_theta", 10000.0)
    if (partial := scaling.pop("partial_rotary_factor", None)) is not None:
        out["partial_rotary_factor"] = partial
    if rope["rope_type"] != "default":
        out["rope_scaling"] = scaling
    else:  # in so many words: some classes scale where nothing is said
        out["rope_scaling"] = None
        if spec.local_rope_base not in out:
            out["rope_parameters"] = {k: v for k, v in rope.items() if k in UNSCALED_ROPE}
    return out
