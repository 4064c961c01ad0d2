"""Arguments of the verbs, held against their annotations: a wrong one is an error that names it."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar

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
