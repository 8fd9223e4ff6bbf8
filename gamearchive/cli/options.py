"""Options: how one is declared, and the global ones, which every command takes.

Every option ``--some-name`` has the environment variable ``GAMEARCHIVE_SOME_NAME``, and its help says so: declare options with
`option`, and it is seen to. The variables of a command's own options are read by Typer. Those of the global options are read
here, once, and those of the settings by `gamearchive.settings`, which has to tell where a value comes from; their help names
the variable, and Typer leaves it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import typer

from gamearchive.errors import ConfigurationError
from gamearchive.settings import PREFIX, variable

Color = Literal["auto", "always", "never"]

_COLORS: dict[str, Color] = {"auto": "auto", "always": "always", "never": "never"}
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def option(
    *names: str,
    help: str,  # noqa: A002 - Typer's own word
    metavar: str | None = None,
    minimum: int | None = None,
    count: bool = False,
    show_default: bool = True,
    read_variable: bool = True,
) -> object:
    """Declare an option, for ``Annotated``, with its environment variable.

    Args:
        names: its names, the long one last: ``"-n", "--dry-run"``.
        help: one sentence.
        metavar: what its value is called, in capitals.
        minimum: the lowest number it takes.
        count: whether it counts how often it is given.
        show_default: whether its help shows the default.
        read_variable: False where somebody other than Typer reads the variable: settings and global options.
    """
    name = names[-1].partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(
        *names,
        help=help if read_variable else f"{help}  [env var: {PREFIX}{name}]",
        metavar=metavar,
        min=minimum,
        count=count,
        show_default=show_default,
        envvar=f"{PREFIX}{name}" if read_variable else None,
    )


def _show_version(context: typer.Context, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        context.obj.output.text(f"gamearchive {version('gamearchive')}")
        raise typer.Exit


@dataclass(frozen=True)
class GlobalOptions:
    """What can be said before or after any command. The fields' order is that of the help."""

    home: Annotated[str | None, option("--home", metavar="DIR", help="The folder of the archive.", read_variable=False)] = None
    config: Annotated[str | None, option("--config", metavar="FILE", help="The settings file.", read_variable=False)] = None
    database: Annotated[str | None, option("--database", metavar="URL", help="Where the catalog is.", read_variable=False)] = (
        None
    )
    storage: Annotated[str | None, option("--storage", metavar="URL", help="Where the packs are.", read_variable=False)] = None
    json: Annotated[bool, option("--json", help="Print JSON: a document, or an object a line.", read_variable=False)] = False
    quiet: Annotated[bool, option("-q", "--quiet", help="Print ids or nothing.", read_variable=False)] = False
    verbose: Annotated[
        int,
        option("-v", "--verbose", count=True, show_default=False, help="Say more; twice, still more.", read_variable=False),
    ] = 0
    color: Annotated[
        Color | None, option("--color", metavar="auto|always|never", help="When to use colour.", read_variable=False)
    ] = None
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False

    @classmethod
    def from_environment(cls) -> GlobalOptions:
        """What the variables of the options say that are no settings: JSON, QUIET, VERBOSE and COLOR.

        Raises:
            ConfigurationError: if one of them has a value that its option would not take.
        """
        verbose, color = variable("verbose") or "0", variable("color") or "auto"
        if verbose not in tuple("0123456789"):
            raise ConfigurationError(f"The environment's {PREFIX}VERBOSE is {verbose!r}, which is not 0 to 9.")
        if color not in _COLORS:
            raise ConfigurationError(f"The environment's {PREFIX}COLOR is {color!r}, which is none of {', '.join(_COLORS)}.")
        return cls(json=_flag("json"), quiet=_flag("quiet"), verbose=int(verbose), color=_COLORS[color])

    def over(self, earlier: GlobalOptions) -> GlobalOptions:
        """These where they were given, else the earlier ones; ``-v`` adds up."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: getattr(earlier, name) if value in (None, False) else value for name, value in mine.items()}
        return GlobalOptions(**kept | {"verbose": self.verbose + earlier.verbose})


def _flag(name: str) -> bool:
    """Whether a variable switches a flag on.

    Raises:
        ConfigurationError: if it is neither a yes nor a no.
    """
    value = (variable(name) or "0").lower()
    if value not in _SWITCHES:
        raise ConfigurationError(f"The environment's {PREFIX}{name.upper()} is {value!r}, which is neither 1 nor 0.")
    return _SWITCHES[value]
