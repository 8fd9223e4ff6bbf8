"""How a command is declared: its function, its options, its exit codes and one example.

A command's module makes a `typer.Typer` named ``app`` (`command_group`, with a name where it is a noun with sub-commands) and
declares functions on it::

    app = command_group()

    @command(app, exits=(10, 12), example="gamearchive show game-42")
    def show(
        context: Context,
        game: Annotated[str, typer.Argument(metavar="ID", help="The game's id.")],
        entity_type: Annotated[str, option("--type", metavar="TYPE", help="The game's type.")] = "game",
    ) -> int | None:
        \"\"\"Everything known about one game, without its payload.\"\"\"

The first parameter is the `Context`; the others are the command's own, a dataclass among them standing for the options that
its fields are. `command` adds the global options, so that they can be given after the command too, and the exit codes and the
example at the end of the help. What the function returns is the exit
code, None being 0; errors are raised. The docstring is the help. A module is imported for every ``--help``, so whatever is
heavy is imported inside the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from typing import Any, TypeVar

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.options import GlobalOptions

EXIT_CODES = {
    0: "done; an empty listing is done",
    1: "failed",
    2: "wrong usage",
    3: "finished, with problems: inputs rejected, damage found, something skipped",
    10: "no archive there",
    11: "locked, or leased by another process",
    12: "no such game, job or backup",
    13: "exists already",
    14: "integrity: a checksum or a format is wrong",
    15: "storage or database unavailable",
    16: "configuration",
    17: "the database needs an upgrade, or is newer than this program",
    18: "refused: a hold, a guard, a stale plan",
    130: "interrupted (SIGINT)",
    143: "terminated (SIGTERM)",
}
"""What a process's exit code means, for every command."""

_ALWAYS = (0, 1, 2, 16, 130, 143)

T = TypeVar("T")

CommandFunction = Callable[..., int | None]


def command_group(
    name: str | None = None,
    *,
    help: str | None = None,  # noqa: A002 - Typer's own word
    exits: Iterable[int] = (),
    example: str = "",
    alone: CommandFunction | None = None,
) -> typer.Typer:
    """A group of commands; one with a name takes the global options before its commands.

    Args:
        name: the noun that the commands stand under; None where they stand at the top, and the rest means nothing.
        help: one sentence on the noun; the docstring of ``alone``, when omitted.
        exits: the codes its commands may end with, beside those that every command may.
        example: a command line that does something useful.
        alone: what the noun does without a sub-command; with one, or None, nothing.
    """
    app = typer.Typer(
        name=name,
        help=help or inspect.getdoc(alone),
        invoke_without_command=alone is not None,
        epilog=_epilog(exits, example),
        rich_markup_mode=None,  # plain help: Rich would be imported for it, and doubles the time it takes
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    if name is not None:
        function = alone or _noun
        app.callback()(_with_global_options(function, _own_parameters(function)))
    return app


def command(
    app: typer.Typer, name: str | None = None, *, exits: Iterable[int] = (), example: str
) -> Callable[[CommandFunction], CommandFunction]:
    """Declare a function as a command.

    Args:
        app: the group it belongs to.
        name: its name; the function's, when omitted.
        exits: the codes it may end with, beside those that every command may.
        example: a command line that does something useful.
    """

    def declare(function: CommandFunction) -> CommandFunction:
        invoke = _with_global_options(function, _own_parameters(function))
        app.command(name or function.__name__, epilog=_epilog(exits, example))(invoke)
        return function

    return declare


def _noun(_context: Context) -> None:
    """What a noun does before its sub-command: take in the global options, no more."""


def _own_parameters(function: CommandFunction) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())[1:]


def _with_global_options(function: CommandFunction, own: list[inspect.Parameter]) -> CommandFunction:
    """The function as Typer calls it: with the global options beside its own, which it leaves to the `Context`."""
    groups = {each.name: each.annotation for each in own if isinstance(each.annotation, type) and is_dataclass(each.annotation)}

    def invoke(typer_context: typer.Context, **values: Any) -> int | None:
        context = typer_context.obj
        if not isinstance(context, Context):
            raise TypeError("a command is run by gamearchive.cli.app.main, which makes its context")
        context.configure(_taken(GlobalOptions, values))
        values |= {name: _taken(group, values) for name, group in groups.items()}
        if typer_context.invoked_subcommand is not None:
            return None
        context.running = function is not _noun
        return function(context, **values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("typer_context", keyword, annotation=typer.Context)]
    for each in own:
        parameters += _parameters(groups[each.name]) if each.name in groups else [each]
    parameters += _parameters(GlobalOptions)
    invoke.__doc__ = function.__doc__
    invoke.__signature__ = inspect.Signature([each.replace(kind=keyword) for each in parameters])  # type: ignore[attr-defined]
    return invoke


def _parameters(group: type[T]) -> Iterable[inspect.Parameter]:
    return inspect.signature(group, eval_str=True).parameters.values()


def _taken(group: type[T], values: dict[str, Any]) -> T:
    """A group of options out of all values."""
    return group(**{name: values.pop(name) for name in inspect.signature(group).parameters})


def _epilog(exits: Iterable[int], example: str) -> str:
    """The end of a command's help. A paragraph that begins with a backspace is left as it is, line by line."""
    codes = "\n".join(f"  {code:<4} {EXIT_CODES[code]}" for code in sorted({*_ALWAYS, *exits}))
    return f"\b\nExit codes:\n{codes}\n\n\b\nExample:\n  {example}"
