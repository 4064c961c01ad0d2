"""A process of its own that renders one chat template: what it may take of time and memory is the system's to enforce.

Reads one JSON object from stdin (template, attempts, wanted, seconds, bytes), writes one to stdout: {"text"} or {"error"}.
It imports nothing of ours, so that it starts at once. The environment is that of transformers: a template can change nothing
and reach no attribute that leads out of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

LIMIT = 1 << 16  # characters of the result that are handed back


def render(template: str, variables: dict[str, Any]) -> str:
    """The text. Raises whatever jinja2, or the template, raises."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what the model says, for training: the block is its content."""

        tags = {"generation"}  # noqa: RUF012 jinja2 reads it so

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
               sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda _format: "{date}"  # a card is of no day
    pieces, size = [], 0
    for piece in environment.from_string(template).generate(**variables):
        pieces.append(piece)
        size += len(piece)
        if size > LIMIT:
            refuse(f"gives more than {LIMIT} characters")
    return "".join(pieces)


def limit(seconds: int, size: int) -> None:
    """Of this process. Where the system has no such limits (Windows), whoever waits for it ends it."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with contextlib.suppress(ValueError, OSError):  # macOS has none of the kind
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main() -> None:
    asked = json.load(sys.stdin)
    import jinja2.sandbox  # ahead of the limits: importing is not the template's

    limit(asked["seconds"], asked["bytes"])
    answer = {"error": "what it gives does not hold the question"}
    try:
        for variables in asked["attempts"]:
            try:
                text = render(asked["template"], variables)
            except jinja2.TemplateError as error:  # it may refuse a role
                answer = {"error": f"{type(error).__name__}: {error}"[:400]}
            else:
                if asked["wanted"] in text:
                    answer = {"text": text}
                    break
    except MemoryError:
        answer = {"error": "it takes too much memory"}
    except RecursionError:
        answer = {"error": "it calls itself without end"}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:400]}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
