"""The error tree: every failure that a caller or a user can meet.

Each class carries a stable kebab-case ``code`` (shown to users, kept for scripts), the ``exit_code`` the command line ends
with, and a ``hint``: the next thing to do. A message is a full sentence that names the thing concerned.

| exit code | means                                                              |
|-----------|--------------------------------------------------------------------|
| 1         | failed                                                             |
| 2         | wrong usage                                                        |
| 3         | finished, with problems                                            |
| 10        | no archive there                                                   |
| 11        | locked, or leased by another process                               |
| 12        | no such game, job or backup                                        |
| 13        | exists already                                                     |
| 14        | integrity: a checksum or a format is wrong                         |
| 15        | storage or database unavailable                                    |
| 16        | configuration                                                      |
| 17        | the database needs an upgrade, or is newer than this program       |
| 18        | refused                                                            |
"""

from __future__ import annotations

from typing import ClassVar


class GameArchiveError(Exception):
    """The root of all errors raised on purpose.

    Args:
        message: a full sentence with the facts, without a final full stop being required.
        hint: what to do next; the class's own hint when omitted.
    """

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = "Run the command again with --verbose to see more."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint


class UsageError(GameArchiveError):
    """A command or a call was put wrongly; nothing was done."""

    code = "usage"
    exit_code = 2
    default_hint = "Run the command with --help to see what it takes."


class SourceError(GameArchiveError):
    """A source of games, or one record in it, cannot be archived; the rest goes on."""

    code = "rejected"
    exit_code = 3
    default_hint = "Mend the source and run the same command again: what is archived already is skipped."


class EncodingError(GameArchiveError):
    """A game in play holds what cannot be written so that it comes back the same; trying again is in vain."""

    code = "cannot-encode"
    default_hint = (
        "Say of which class games are, GameArchivalStrategy(game_type=...), leave that value out of the game, or write an "
        "ArchivalStrategy of your own."
    )


class NoArchiveError(GameArchiveError):
    """There is no archive where one was looked for."""

    code = "no-archive"
    exit_code = 10
    default_hint = "Start one with `gamearchive archive FILE`, or name another place with --home."


class LockedError(GameArchiveError):
    """Another process holds what is needed."""

    code = "locked"
    exit_code = 11
    default_hint = "Wait for the other process to end, then run the same command again."


class LeaseLostError(GameArchiveError):
    """Another process has taken this server or worker for dead, and what it had over; nothing that it does may be written."""

    code = "lease-lost"
    exit_code = 11
    default_hint = "Start the server anew: it goes on with the games that are its own then."


class NotFoundError(GameArchiveError):
    """There is no game of that id, or no such job or backup, or nothing lies at that location."""

    code = "not-found"
    exit_code = 12
    default_hint = "List what is archived with `gamearchive query`."


class ExistsError(GameArchiveError):
    """Something is there already and would be written over."""

    code = "exists"
    exit_code = 13
    default_hint = "Choose another place, or write over it with --force."


class IntegrityError(GameArchiveError):
    """Stored bytes are not what was stored: a checksum, a length or a format is wrong."""

    code = "integrity"
    exit_code = 14
    default_hint = "Run `gamearchive verify --full` to see all that is damaged."


class UnavailableError(GameArchiveError):
    """A storage or a database cannot do its work now: unreachable, full, or refusing."""

    code = "unavailable"
    exit_code = 15
    default_hint = "Mend the cause and run the same command again; nothing archived is lost."


class StorageUnavailableError(UnavailableError):
    """The storage of packs cannot be read or written."""

    code = "storage-unavailable"


class ThawingError(StorageUnavailableError):
    """An object lies where the storage cannot read it at once, such as in S3's GLACIER; the message says how long it takes."""

    code = "thawing"
    default_hint = "Run the same command again then."


class DatabaseUnavailableError(UnavailableError):
    """The database cannot be read or written."""

    code = "database-unavailable"


class CapacityError(GameArchiveError):
    """There is no room for another game, in memory or in the queue; nothing was taken."""

    code = "capacity"
    default_hint = "Wait until games have gone to the archive, or raise the hard limit."


class ConfigurationError(GameArchiveError):
    """A setting is unknown, absurd or contradicts another."""

    code = "configuration"
    exit_code = 16
    default_hint = "Run `gamearchive config check` after mending it."


class SchemaError(GameArchiveError):
    """The database was made by a newer program, or is not an archive's at all."""

    code = "schema"
    exit_code = 17
    default_hint = "Upgrade gamearchive, or name another database with --database."


class RefusedError(GameArchiveError):
    """A guard refused to act."""

    code = "refused"
    exit_code = 18
    default_hint = "Add --yes if this is what you want."


class RetainedError(RefusedError):
    """The storage keeps an object until a date, whoever asks for its removal; it stays, and the message says until when."""

    code = "retained"
    default_hint = "Delete it after that date."


class StoppedError(GameArchiveError):
    """What was asked for was broken off by a signal, and nothing of it is left."""

    code = "stopped"
    default_hint = "Run the same command again."


class UnsupportedError(GameArchiveError):
    """A backend cannot do what was asked of it."""

    code = "unsupported"
    default_hint = "Use a backend that can: see the README on backends."


Told = tuple[str, str, str | None]
"""An error as one process tells another: its class, message and hint."""


def tell(error: Exception) -> Told:
    """An error, to be told to another process."""
    if isinstance(error, GameArchiveError):
        return type(error).__name__, error.message, error.hint
    return "", f"{type(error).__name__}: {error}", None


def told(name: str, message: str, hint: str | None) -> GameArchiveError:
    """An error that another process told; of a class that is not of this module, only what it said is kept."""
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, GameArchiveError):
        return found(message, hint=hint)
    return GameArchiveError(message, hint=hint)
