"""The program: its commands, and what becomes of errors.

`main` is the console script. Whatever ends a command becomes an exit code here, and nothing that a user can cause becomes a
traceback: an error of the project and wrong usage are three lines on standard error (with ``--json`` one), a closed pipe is
silent. A bug keeps its traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import EXIT_CODES, command_group
from gamearchive.cli.options import GlobalOptions
from gamearchive.cli.output import ClosedPipeError, unwritable
from gamearchive.cli.signals import ending
from gamearchive.clock import SystemClock
from gamearchive.errors import GameArchiveError, UnavailableError, UsageError
from gamearchive.settings import completing

PROGRAM = "gamearchive"
COMMANDS = (
    "archive",
    "query",
    "show",
    "restore",
    "stats",
    "retention",
    "compact",
    "backup",
    "verify",
    "drill",
    "rebuild",
    "worker",
    "queue",
    "storage",
    "config",
    "bench",
)
"""The modules of `gamearchive.cli.commands`, in the order of the help."""

_CLOSED_PIPE, _INTERRUPTED = 141, 130  # as the shell reports SIGPIPE and SIGINT


def make_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The whole command line, or as much of it as some arguments need: the command alone that they begin with.

    Importing all commands and building their parsers would take a tenth of the time that a short command takes.
    """
    app = command_group(
        PROGRAM,
        help="Keeps finished games: compact packs, a catalog to find them by, and their exact bytes back.",
        exits=EXIT_CODES,
        example="gamearchive archive games/",
    )
    asked = [name for name in arguments[:1] if name in COMMANDS]
    for name in asked or COMMANDS:
        app.add_typer(import_module(f"gamearchive.cli.commands.{name}").app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: what follows the program's name; the process's own, when omitted. Nothing at all asks for help.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if completing(PROGRAM):
        # Typer imports Rich to take the markup out of each option's help, if Rich is there. There is none in ours, and
        # somebody is waiting for the next word.
        sys.modules["rich"] = None  # type: ignore[assignment]
    context = Context(SystemClock())
    if "--json" in arguments:  # wrong usage is told in JSON too, and then no option has been read
        context.configure(GlobalOptions(json=True))
    with ending():
        try:
            code = _run(context, arguments)
        except ClosedPipeError:
            code = _CLOSED_PIPE
        except GameArchiveError as error:
            context.output.error(error)
            if error.__cause__ is not None:
                context.output.detail(f"The cause: {error.__cause__!r}")
            code = error.exit_code
    return code if context.stopped_by is None else 128 + context.stopped_by


def _run(context: Context, arguments: Sequence[str]) -> int:
    """Run a command line to its exit code, errors of the project left to the caller."""
    try:
        context.configure(GlobalOptions.from_environment())
        result = make_app(arguments)(arguments, prog_name=PROGRAM, standalone_mode=False, obj=context)
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
        # Typer has pydantic check the values, and lets it speak.
        message = error.format_message().replace("Value error, ", "").replace("Input should", "it should")
        raise UsageError(message, hint=f"Run `{command} --help` to see what it takes.") from None
    except typer.Abort:
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise UnavailableError(
                f"No more files can be opened: {error.strerror}.", hint="Allow more of them: ulimit -n 1024."
            ) from error
        if context.running:
            raise
        raise unwritable(error) from None  # Typer itself, printing a help text
    except (KeyError, ValueError):
        if not completing(PROGRAM):
            raise
        raise UsageError(
            "The shell did not say what to complete.", hint="Let it load the script that --show-completion prints."
        ) from None
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        context.output.flush()
    return result if isinstance(result, int) else 0
