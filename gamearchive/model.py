"""The values that travel through the house: plain, frozen, without behaviour of their own.

A *game* is known by its entity type and id (`EntityKey`). What a reader or a game server hands over is a `GameRecord`: the
game's exact bytes and the `Facts` taken from them. What the archive keeps about it is an `ArchiveEntry`: the same facts, its
revision, its `Provenance` (who sent it, why and when), and the `Place` where its bytes lie.

Instants are microseconds since 1970-01-01T00:00:00Z (``int``), sizes are bytes, unknown is ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, IntEnum
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import msgspec

from gamearchive.errors import IntegrityError, UsageError

CHECKSUM_BYTES = 16
MAX_ID_BYTES = 512
MAX_PAYLOAD_BYTES = (1 << 30) - 2
"""What a frame of the Zstandard seekable format takes, less a newline."""
MAX_PLAYERS = 1000
MAX_TEXT = 256
"""Characters of a player's id or name, a status, a content type, and of a tag's key or value."""
JSON = "application/json"
PGN = "application/vnd.chess-pgn"
OPAQUE = "application/octet-stream"

_TYPE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SCHEMA = re.compile(r";\s*schema=([0-9]{1,9})\s*(?:;|$)", re.IGNORECASE)
_MAX_INSTANT = 1 << 60
_PACK_KEY = r"[a-z0-9][a-z0-9_-]{0,63}/\d{4}/\d\d/\d\d/[0-9a-f]{32}\.zst"
_LOCATION = re.compile(
    rf"(?P<pack>{_PACK_KEY})#(?P<fo>\d{{1,18}})\+(?P<fb>\d{{1,18}}):(?P<ro>\d{{1,18}})\+(?P<rb>\d{{1,18}})", re.ASCII
)


class ArchivalTrigger(Enum):
    """Why a game was archived."""

    GAME_COMPLETED = "game_completed"
    TIME_BASED = "time_based"
    MEMORY_PRESSURE = "memory_pressure"
    MANUAL = "manual"
    SHUTDOWN = "shutdown"


class ArchivalPriority(IntEnum):
    """How urgent archiving a game is; a higher number goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class EntityKey(NamedTuple):
    """What a game is known by. The same id may stand for two games of different types."""

    entity_type: str
    entity_id: str


class Player(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """One who took part: by the game's own id for them, by name, or both; never neither."""

    id: str | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        """What listings show: the name where there is one, else the id."""
        return self.name if self.name is not None else self.id or ""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What the catalog knows of a game's content. ``players`` in the order of the seats."""

    players: tuple[Player, ...] = ()
    winner: Player | None = None
    status: str | None = None
    created_at: int | None = None
    completed_at: int | None = None


Tags = tuple[tuple[str, str], ...]
"""Pairs of key and value, sorted by key, each key once."""


class GameRecord(msgspec.Struct, frozen=True, gc=False):
    """A game on its way into the archive: its exact bytes, and what is known of it.

    What no pack or database could hold is refused here, so that no game ever fails those archived with it.

    Raises:
        UsageError: if it cannot be archived.
    """

    entity_type: str
    entity_id: str
    payload: bytes
    content_type: str
    facts: Facts = Facts()
    tags: Tags = ()

    def __post_init__(self) -> None:
        check_type(self.entity_type)
        if self.tags:
            check_tags(self.tags)
        problem = id_problem(self.entity_id) or _payload_problem(self) or _facts_problem(self.facts)
        if problem:
            raise UsageError(f"The game {self.entity_id!r} cannot be archived: {problem}.", hint="Leave out or shorten that.")

    @property
    def raw_bytes(self) -> int:
        """The length of its bytes."""
        return len(self.payload)


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A record that could not be taken from its source, and why.

    ``line`` counts from 1 and is the record's first line; None where lines mean nothing. ``raw`` is the record's bytes, cut
    to at most 64 KiB.
    """

    source: str
    line: int | None
    reason: str
    raw: bytes = b""


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something about a source that the user is to know and that is no failure: what is left out of it, for one.

    ``line`` counts from 1; None where lines mean nothing.
    """

    source: str
    line: int | None
    reason: str


class Provenance(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """How games came into the archive: when, why, how urgently, by which policy (``name@version``), with which tags."""

    archived_at: int
    trigger: ArchivalTrigger = ArchivalTrigger.MANUAL
    priority: ArchivalPriority = ArchivalPriority.NORMAL
    policy: str | None = None
    tags: Tags = ()


class Handover(msgspec.Struct, frozen=True, gc=False):
    """How a game in play went over to the archive's care: what `Provenance` will say of it, and when that was."""

    trigger: ArchivalTrigger
    priority: ArchivalPriority
    policy: str | None
    at: int


class Sender(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """On whose behalf games are archived; what `Provenance` says, but for when.

    Records of a game that is ``live`` come in the order of its states: only bytes of its latest revision are there already.
    Those of a source may come again in any order: there bytes of any revision are.
    """

    trigger: ArchivalTrigger = ArchivalTrigger.MANUAL
    priority: ArchivalPriority = ArchivalPriority.NORMAL
    policy: str | None = None
    live: bool = False


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a game's bytes lie: a frame of a pack, and a range of what the frame decompresses to.

    A foreign backend, whose locations mean something to itself alone, has its location in ``pack`` and zero ``frame_bytes``.
    """

    pack: str
    frame_offset: int = 0
    frame_bytes: int = 0
    record_offset: int = 0

    def location(self, raw_bytes: int) -> str:
        """The one-line form that backends give out: ``PACK#FRAME_OFFSET+FRAME_BYTES:RECORD_OFFSET+RAW_BYTES``."""
        if not self.frame_bytes:
            return self.pack
        return f"{self.pack}#{self.frame_offset}+{self.frame_bytes}:{self.record_offset}+{raw_bytes}"


def parse_location(location: str) -> tuple[Place, int]:
    """Read a location back into its place and the record's length in bytes.

    Raises:
        IntegrityError: if it is not of that form.
    """
    match = _LOCATION.fullmatch(location)
    if match is None:
        raise IntegrityError(f"{location!r} is not the location of a game in a pack.")
    numbers = [int(match[name]) for name in ("fo", "fb", "ro", "rb")]
    return Place(match["pack"], numbers[0], numbers[1], numbers[2]), numbers[3]


class ArchiveEntry(msgspec.Struct, frozen=True, gc=False):
    """All that the catalog holds of one revision of one archived game.

    ``checksum`` is the BLAKE2b-128 of the payload, ``stored_bytes`` what it takes in its pack, ``superseded`` whether a later
    revision has taken its place.
    """

    entity_type: str
    entity_id: str
    revision: int
    content_type: str
    facts: Facts
    provenance: Provenance
    raw_bytes: int
    stored_bytes: int
    checksum: bytes
    place: Place
    superseded: bool = False

    @property
    def key(self) -> EntityKey:
        """What the game is known by."""
        return EntityKey(self.entity_type, self.entity_id)

    def stored_at(self, place: Place, stored_bytes: int) -> ArchiveEntry:
        """The same, stored in a place: as `msgspec.structs.replace` would say it, which takes four times as long."""
        return ArchiveEntry(
            self.entity_type, self.entity_id, self.revision, self.content_type, self.facts, self.provenance, self.raw_bytes,
            stored_bytes, self.checksum, place, self.superseded,
        )  # fmt: skip

    @property
    def location(self) -> str:
        """Where the backend finds it."""
        return self.place.location(self.raw_bytes)


def checksum(payload: bytes) -> bytes:
    """The BLAKE2b-128 of a payload: how the archive knows that bytes are what they were."""
    return blake2b(payload, digest_size=CHECKSUM_BYTES).digest()


def media_type(content_type: str) -> str:
    """A content type without its parameters: what tells one format from another."""
    return content_type.partition(";")[0].rstrip().lower()


def schema_version(content_type: str) -> int:
    """The version of a game's own form, as ``application/json; schema=3`` says it; 1 where nothing is said."""
    match = _SCHEMA.search(content_type)
    return 1 if match is None else int(match[1])


def versioned(content_type: str, version: int) -> str:
    """A content type that says which version of a game's own form its bytes have; version 1 goes without saying."""
    return content_type if version == 1 else f"{content_type}; schema={version}"


def is_text(content_type: str) -> bool:
    """Whether records of this content type are text, which packs keep one after another with a newline between."""
    kind = media_type(content_type)
    return kind in (JSON, PGN) or kind.startswith("text/")


def id_problem(entity_id: str) -> str | None:
    """Why an id cannot be archived under, or None if it can: 1 to 512 bytes of UTF-8 without a NUL."""
    try:
        size = len(entity_id.encode())
    except UnicodeEncodeError:
        return "the id holds half a surrogate pair, which is no character"
    if not size:
        return "the id is empty"
    if size > MAX_ID_BYTES:
        return f"the id has {size} bytes, more than {MAX_ID_BYTES}"
    return "the id holds a NUL character" if "\0" in entity_id else None


def _payload_problem(record: GameRecord) -> str | None:
    if len(record.payload) > MAX_PAYLOAD_BYTES:
        return f"it has {len(record.payload)} bytes, more than {MAX_PAYLOAD_BYTES}"
    return _text_problem("its content type", record.content_type)


def _facts_problem(facts: Facts) -> str | None:
    if len(facts.players) > MAX_PLAYERS:
        return f"it has {len(facts.players)} players, more than {MAX_PLAYERS}"
    people = facts.players if facts.winner is None or facts.winner in facts.players else (*facts.players, facts.winner)
    texts = [text for player in people for text in (player.id, player.name)]
    # All texts at once, for this is asked of every game; one by one only where something is not quite plain.
    if not are_plain(texts):
        for text in texts:
            if problem := _text_problem("a player's id or name", text):
                return problem
        if any(player.id is None and player.name is None for player in people):
            return "a player has neither id nor name"
    for instant in (facts.created_at, facts.completed_at):
        if instant is not None and abs(instant) > _MAX_INSTANT:
            return f"an instant of {instant} microseconds is out of all range"
    return _text_problem("its status", facts.status)


def are_plain(texts: Sequence[str | None]) -> bool:
    """Whether all of these are texts that can be kept, of printable characters alone, and none of them is blank."""
    try:
        together = "".join(texts)  # type: ignore[arg-type]
    except TypeError:
        return False
    return (
        together.isprintable()
        and "" not in texts
        and (len(together) <= MAX_TEXT or max(map(len, texts)) <= MAX_TEXT)  # type: ignore[arg-type]
        and (" " not in together or not any(map(str.isspace, texts)))  # type: ignore[arg-type]
    )


def _text_problem(what: str, text: str | None) -> str | None:
    """Why a text cannot be kept, or None if it can: 1 to `MAX_TEXT` characters that every database takes."""
    if text is None:
        return None
    if not 0 < len(text) <= MAX_TEXT:
        return f"{what} has {len(text)} characters, and not 1 to {MAX_TEXT}"
    if not text.isprintable() and _UNSTORABLE.search(text):
        return f"{what} holds a NUL or half a surrogate pair"
    return None


@lru_cache(maxsize=64)
def check_type(entity_type: str) -> str:
    """Return an entity type's name as it is.

    Raises:
        UsageError: unless it is 1 to 64 lower-case letters, digits, ``_`` and ``-``, the first a letter or a digit.
    """
    if not _TYPE_NAME.fullmatch(entity_type):
        raise UsageError(
            f"The entity type {entity_type!r} is not a plain name.",
            hint="Use 1 to 64 lower-case letters, digits, _ and -, such as `game` or `ranked-match`.",
        )
    return entity_type


def check_tags(tags: Tags) -> Tags:
    """Return tags as they are.

    Raises:
        UsageError: unless they are sorted by key, each key once, and their texts can be kept; a value may be empty.
    """
    if any(before[0] >= after[0] for before, after in pairwise(tags)):
        raise UsageError("Tags must be sorted by their keys, each key once.", hint="Give each tag once.")
    for key, value in tags:
        problem = _text_problem("its key", key) or (_text_problem("its value", value) if value else None)
        if problem:
            raise UsageError(f"The tag {key!r} cannot be kept: {problem}.", hint="Shorten it, or leave it out.")
    return tags


def encode_id(entity_id: str) -> bytes:
    """An id as the bytes it is stored under: a canonical lower-case UUID takes 17 bytes instead of 36.

    A UUID is a NUL and its 16 bytes; any other id is its UTF-8, which holds no NUL. Both are unambiguous.
    """
    if len(entity_id) == 36 and _UUID.fullmatch(entity_id):
        return b"\0" + bytes.fromhex(entity_id.replace("-", ""))
    return entity_id.encode()


def decode_id(stored: bytes) -> str:
    """The id that `encode_id` made these bytes from."""
    if stored[:1] != b"\0":
        return stored.decode()
    digits = stored[1:].hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
