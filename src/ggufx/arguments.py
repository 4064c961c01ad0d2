"""Arguments of the verbs: held against their annotations, a wrong one is an error that names it; and as planners take them."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .converters.planners.quantization import Quantization
    from .converters.sources.stated import Stated

P = ParamSpec("P")
R = TypeVar("R")


def checked(verb: Callable[P, R]) -> Callable[P, R]:
    """The verb, with UsageError for an argument that is not what its annotation says."""
    signature = inspect.signature(verb)

    @functools.cache
    def hints() -> dict[str, Any]:
        annotations = {k: v for k, v in verb.__annotations__.items() if k != "return"}  # that one would import much
        return typing.get_type_hints(type("Arguments", (), {"__annotations__": annotations}), verb.__globals__)

    @functools.wraps(verb)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return verb(*args, **kwargs)  # says which argument is unknown or missing, and of what
        for name, value in given.items():
            if not fits(value, hints()[name]):
                from .converters.errors import UsageError

                raise UsageError(f"{verb.__name__}: {name} is of a wrong type", expected=signature.parameters[name].annotation,
                                 found=f"{type(value).__name__} {value!r:.80}")
        from .converters.errors import GgufxError

        try:
            return verb(*args, **kwargs)
        except GgufxError as error:
            for each in (error, *getattr(error, "problems", ())):
                each.hint = each.hint and in_python(each.hint, signature.parameters)
            raise

    return call


# Options of the command line that hints speak of, where the argument is more, or other, than the same word.
_ARGUMENTS = {"force": "force=True", "resume": "resume=True", "allow-requantize": "allow_requantize=True",
              "no-fallback": "fallback=False", "keep-quantized": "keep_quantized=True", "as": "hf_class"}


def in_python(hint: str, known: Collection[str]) -> str:
    """A hint with arguments in the place of options: those that the verb has, outside of commands in backticks."""

    def argument(option: re.Match[str]) -> str:
        name = _ARGUMENTS.get(option[1], option[1].replace("-", "_"))
        return name if name.partition("=")[0] in known else option[0]

    parts = hint.split("`")
    return "`".join(part if i % 2 else re.sub(r"--([a-z][a-z-]*)", argument, part) for i, part in enumerate(parts))


def fits(value: object, hint: Any) -> bool:
    """Whether a value is what an annotation says: unions, and the items of collections, included."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, UnionType):
        return any(fits(value, each) for each in inner)
    if kind is Any:
        return True
    if kind in (None, NoneType):
        return value is None
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind is Callable:
        return callable(value)
    if not isinstance(value, kind):
        return False
    if issubclass(kind, Mapping):
        return all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if kind is not str and issubclass(kind, Iterable) and inner:
        return not isinstance(value, (str, bytes)) and all(fits(item, inner[0]) for item in value)
    return True


def check_positive(**numbers: int | None) -> None:
    """UsageError for a number of threads, or of bytes, that nothing can be done with."""
    from .converters.errors import UsageError, raise_all

    raise_all(UsageError(f"{name} must be at least 1", found=number) for name, number in numbers.items()
              if number is not None and number < 1)


def several(value: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return (value,) if isinstance(value, (str, Path)) else value


def texts(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def as_stated(llama_version: str | None, context_length: int | None) -> Stated:
    """What is stated of an original checkpoint. UsageError for a context of no tokens."""
    from .converters.sources.stated import Stated

    check_positive(context_length=context_length)
    return Stated(llama_version=llama_version, context_length=context_length)


def as_path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def as_target(model: str | Path | None, headers: bool = False) -> Path | None:
    """The folder of a draft's target."""
    from .converters.sources.hub import resolve_model

    return None if model is None else resolve_model(model, what="target", headers=headers)


def as_quantization(*, imatrix_file: Any, include_weights: Sequence[str], exclude_weights: Sequence[str], tensor_types: Any,
                  tensor_type_file: Any, override_kv: Any, **rest: Any) -> Quantization:
    """What is asked of a quantized file, in the words of the command line."""
    from .converters.planners.quantization import Quantization

    kinds = {bool: "bool", int: "int", float: "float", str: "str"}
    if isinstance(tensor_types, Mapping):
        tensor_types = [f"{pattern}={kind}" for pattern, kind in tensor_types.items()]
    if isinstance(override_kv, Mapping):
        override_kv = [f"{key}={kinds[type(value)]}:{str(value).lower() if isinstance(value, bool) else value}"
                       for key, value in override_kv.items()]
    return Quantization(
        imatrix_file=as_path(imatrix_file), include_weights=tuple(include_weights), exclude_weights=tuple(exclude_weights),
        tensor_types=tuple(tensor_types), tensor_type_file=as_path(tensor_type_file), override_kv=tuple(override_kv), **rest)
