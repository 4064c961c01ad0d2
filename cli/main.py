"""The `ggufx` command: registers the subcommands and turns every exception into a message and an exit status."""

from __future__ import annotations

import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperArgument, TyperCommand, TyperOption

from .. import __version__
from ..converters.errors import GgufxError, StorageError, UsageError
from .exit import ExitStatus, status_of
from .options import TALK
from .output import Output

app = typer.Typer(
    name="ggufx",
    help="Convert between Hugging Face checkpoints and GGUF: exact, both ways, in one step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Command(TyperCommand):
    """A command whose help is plain text: what stands in square brackets is no markup. A flag is shown without a type."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help, self.epilog = escape(self.help or ""), escape(self.epilog or "")
        for param in self.params:
            if isinstance(param, (TyperArgument, TyperOption)):
                param.help = escape(param.help or "")
            if getattr(param, "is_flag", False):
                param.metavar = ""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar, option.rich_help_panel = "", TALK
        return option


class Terminated(BaseException):
    """SIGTERM: unwinds like Ctrl-C, so that what is under way is left in order."""


class Interrupted(GgufxError):
    """The command was stopped from outside."""

    code = "interrupted"


WRONG_CALL: Any = typer.BadParameter.__base__  # typer's own for any call that it cannot parse; it does not export the name


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ggufx {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def guarded(body: Callable[..., Any]) -> Callable[..., Any]:
    """A command that reports every failure through `Output` and leaves with the documented status."""

    @functools.wraps(body)
    def command(*args: Any, **options: Any) -> None:
        out = Output(options.get("json_mode", False), options.get("quiet", False), options.get("verbose", False))
        try:
            status = body(*args, **options) or ExitStatus.DONE
        except (typer.Exit, typer.Abort, WRONG_CALL):
            raise
        except BrokenPipeError:  # the reader of our output has left; there is nobody to tell
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            status = ExitStatus.DONE
        except BaseException as caught:
            error, status = told(caught)
            if status == ExitStatus.BUG and out.verbose:
                traceback.print_exc()
            out.error(error, status)
        if status:
            raise typer.Exit(int(status))

    return command


def told(caught: BaseException) -> tuple[GgufxError, ExitStatus]:
    """What to say of an exception that ended a command, and the status to leave with."""
    if isinstance(caught, GgufxError):
        return caught, status_of(caught)
    if isinstance(caught, KeyboardInterrupt):
        return Interrupted("interrupted", hint=_notes(caught)), ExitStatus.INTERRUPTED
    if isinstance(caught, Terminated):
        return Interrupted("terminated", hint=_notes(caught)), ExitStatus.TERMINATED
    if isinstance(caught, MemoryError):
        return StorageError("out of memory", hint="Give a smaller --max-memory or fewer --threads."), ExitStatus.IO
    if not isinstance(caught, Exception):
        raise caught
    return GgufxError(f"{type(caught).__name__}: {caught}", hint="This is a fault of ggufx, not of your file. Run again with "
                      "--verbose and report what it prints."), ExitStatus.BUG


def _notes(caught: BaseException) -> str | None:
    """What whoever was interrupted says of what is left (`BaseException.add_note`)."""
    return "\n  ".join(getattr(caught, "__notes__", ())) or None


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


def run() -> None:
    """The entry point. A call that cannot be parsed is an error like any other, in a document too."""
    for name in ("SIGTERM", "SIGBREAK"):  # the second is Windows', which ends nothing by the first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to fail: \u2713 stands for it
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(standalone_mode=False)
    except WRONG_CALL as error:
        status = ExitStatus.USAGE
        if message := error.format_message():  # else the help was printed, as there were no arguments
            hint = f"`{error.ctx.command_path} --help` shows how it is called." if error.ctx else None
            Output("--json" in sys.argv).error(UsageError(message, hint=hint), status)
    except (KeyboardInterrupt, Terminated) as caught:  # before or after the command
        said, status = told(caught)
        Output("--json" in sys.argv).error(said, status)
    sys.exit(int(status or 0))


from . import (  # noqa: E402 they register on `app`
    archs,
    batch,
    card,
    commit,
    edit,
    gguf_to_hf,
    hf_to_gguf,
    imatrix,
    inspect,
    join,
    lora_to_gguf,
    measure,
    merge_lora,
    modelfile,
    original_to_hf,
    plan,
    push,
    quantize,
    run_shard,
    split,
    types,
    verify,
    warmup,
)

for _module in (hf_to_gguf, gguf_to_hf, original_to_hf, lora_to_gguf, merge_lora, quantize, split, join, edit, verify, measure,
                inspect, archs, types, plan, run_shard, commit, batch, modelfile, imatrix, card, push, warmup):
    app.command(_module.NAME, cls=Command, rich_help_panel=_module.PANEL, epilog=f"Examples:\n{_module.EXAMPLES}",
                context_settings=getattr(_module, "SETTINGS", None))(guarded(_module.command))
