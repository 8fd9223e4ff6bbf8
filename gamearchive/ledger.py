"""The ledger: what packs do not say of their games, kept beside them, for a catalog that is made anew.

A pack never changes. That some of its games have expired, or left the catalog for good, and which games are held, stands in the
ledger: a compressed file of JSON lines among the packs, written anew whenever that changes, under a name that has the instant
and a checksum. The newest that is whole counts; the one before it is kept.

    {"ledger": 1, "at": 1795473824664302}
    {"hold": [1, "a complaint", 1795473824664302, null, "game", "g-1", null, null]}
    {"expired": ["game", "g-2", 1795473824664302, 1795573824664302]}    type, id, archived up to then, in the trash since
    {"pack": "game/2026/11/23/085a….zst"}                               of which these are no longer in the catalog:
    {"purged": ["game", "g-3", 1795473824664302]}                       type, id, archived up to then
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import blake2b

import msgspec

from gamearchive.backends.base import Holdings
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError
from gamearchive.holds import Hold
from gamearchive.model import ArchiveEntry, EntityKey
from gamearchive.trash import Expired

FORMAT = 1
_NAME = re.compile(r"(\d{20})-([0-9a-f]{32})\.ndjson\.gz")


@dataclass(frozen=True)
class Ledger:
    """What a ledger says.

    Args:
        holds: all holds.
        expired: what is in the trash.
        purged: by pack, what has left the catalog, with when it was archived.
    """

    holds: Sequence[Hold] = ()
    expired: Mapping[EntityKey, Expired] = field(default_factory=dict)
    purged: Mapping[str, Sequence[tuple[EntityKey, int]]] = field(default_factory=dict)

    @cached_property
    def _gone(self) -> dict[EntityKey, int]:
        gone: dict[EntityKey, int] = {}
        for games in self.purged.values():
            for key, archived_at in games:
                gone[key] = max(archived_at, gone.get(key, archived_at))
        return gone

    def is_purged(self, entry: ArchiveEntry) -> bool:
        """Whether a revision that lies in a pack has left the catalog for good."""
        return self.has_purged(entry.key, entry.provenance.archived_at)

    def has_purged(self, key: EntityKey, archived_at: int) -> bool:
        """Whether what was archived then of a game has left the catalog for good."""
        until = self._gone.get(key)
        return until is not None and archived_at <= until


def read_ledger(holdings: Holdings) -> Ledger:
    """The ledger beside some packs; an empty one where there is none.

    Raises:
        IntegrityError: if there are some, and none of them is whole.
    """
    damage = None
    for key in reversed(_keys(holdings)):
        try:
            return _decode(key, holdings.note(key))
        except NotFoundError:
            continue
        except IntegrityError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return Ledger()


def write_ledger(holdings: Holdings, ledger: Ledger, now: int) -> None:
    """Write a ledger, unless the one that is there says the same.

    Raises:
        UnsupportedError: if nothing can be kept beside these packs.
    """
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in _lines(ledger))
    digest = blake2b(body, digest_size=16).hexdigest()
    keys = _keys(holdings)
    if keys and _parsed(keys[-1])[1] == digest:
        return
    if not keys and ledger == Ledger():
        return
    at = max(now, _parsed(keys[-1])[0] + 1 if keys else 0)
    head = msgspec.json.encode({"ledger": FORMAT, "at": at}) + b"\n"
    holdings.put_note(f"{at:020d}-{digest}.ndjson.gz", gzip.compress(head + body, 6, mtime=0))
    for key in keys[:-1]:
        holdings.remove_note(key)


def _keys(holdings: Holdings) -> list[str]:
    try:
        return sorted(key for key in holdings.notes() if _NAME.fullmatch(key))
    except UnsupportedError:
        return []


def _parsed(key: str) -> tuple[int, str]:
    match = _NAME.fullmatch(key)
    return (int(match[1]), match[2]) if match else (0, "")


def _lines(ledger: Ledger) -> Iterator[Mapping[str, object]]:
    for hold in ledger.holds:
        yield {"hold": [getattr(hold, each.name) for each in fields(hold)]}
    for expired in ledger.expired.values():
        yield {"expired": (*expired.key, expired.archived_until, expired.expired_at)}
    for pack, games in sorted(ledger.purged.items()):
        yield {"pack": pack}
        yield from ({"purged": (*key, archived_at)} for key, archived_at in games)


class _Line(msgspec.Struct):
    """A line; one of these is there."""

    ledger: int | None = None
    hold: tuple[int, str, int, int | None, str | None, str | None, str | None, str | None] | None = None
    expired: tuple[str, str, int, int] | None = None
    pack: str | None = None
    purged: tuple[str, str, int] | None = None


def _decode(key: str, data: bytes) -> Ledger:
    try:
        head, _, body = gzip.decompress(data).partition(b"\n")
        if blake2b(body, digest_size=16).hexdigest() != _parsed(key)[1]:
            raise IntegrityError(f"The ledger {key} is not what its name says.")
        return _read([head, *body.splitlines()])
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise IntegrityError(
            f"The ledger {key} cannot be read: {error}.",
            hint="Put it back from a backup. Without it, expired games come back and holds are lost: to go on so, remove it.",
        ) from error


def _read(lines: Iterable[bytes]) -> Ledger:
    decoder = msgspec.json.Decoder(_Line)
    holds: list[Hold] = []
    expired: dict[EntityKey, Expired] = {}
    purged: dict[str, list[tuple[EntityKey, int]]] = {}
    games: list[tuple[EntityKey, int]] = []
    for text in lines:
        line = decoder.decode(text)
        if line.hold is not None:
            holds.append(Hold(*line.hold))
        elif line.expired is not None:
            entity_type, entity_id, until, since = line.expired
            found = Expired(EntityKey(entity_type, entity_id), until, since)
            expired[found.key] = found
        elif line.pack is not None:
            games = purged.setdefault(line.pack, [])
        elif line.purged is not None:
            entity_type, entity_id, archived_at = line.purged
            games.append((EntityKey(entity_type, entity_id), archived_at))
        elif line.ledger is not None and line.ledger > FORMAT:
            raise IntegrityError(f"The ledger is of format {line.ledger}, and this program reads {FORMAT}.")
    return Ledger(holds, expired, purged)
