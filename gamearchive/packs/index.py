"""A pack's index: all that the catalog knows of the pack's records, as columns, so that a lost catalog can be made anew.

It is a MessagePack map, whose keys are the fields of `Index` and whose values are columns, written as
`gamearchive.packs.columns` says.
A *reference* column counts into a list of values of which each is kept once: 0 is None, ``n`` the list's n-th value, from 1 on.
Keys that a reader does not know are passed over, so that later writers may add some.

Not in the index, as it is known from elsewhere: where a record lies (`lay_out`), what it takes (its share of its frame), and
whether a later revision has taken its place, which only the catalog knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Annotated, TypeVar

import msgspec

from gamearchive.errors import IntegrityError, UsageError
from gamearchive.model import (
    CHECKSUM_BYTES,
    ArchiveEntry,
    Facts,
    Place,
    Player,
    Provenance,
    check_type,
    id_problem,
)
from gamearchive.packs.columns import (
    MAX_TEXTS,
    Identifiers,
    Texts,
    pack_identifiers,
    pack_instants,
    pack_numbers,
    unpack_identifiers,
    unpack_instants,
    unpack_numbers,
)
from gamearchive.packs.frames import FrameSize

MAX_RECORDS = 1 << 16

_MAX_REVISION = (1 << 31) - 1  # what a database takes
_ARCHIVED_FROM = -62_135_596_800_000_000  # the year 1, in microseconds since the epoch
_ARCHIVED_BEFORE = 253_370_764_800_000_000  # the year 9999: what is archived next comes after the latest, and has a date too

Value = TypeVar("Value")


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The index as it is written. One value a record, unless it says otherwise."""

    entity_type: str
    """Of all records."""
    text: bool
    """Whether each record is followed by one newline."""
    dictionary: tuple[int, bytes] | None
    """Id and BLAKE2b-128 of the dictionary that all frames were compressed with."""
    counts: bytes
    """Integers, one a frame: how many records it holds."""
    lengths: bytes
    """Integers: the records' bytes."""
    checksums: bytes
    """The BLAKE2b-128 of the records, one after another."""
    ids: Identifiers
    revisions: bytes
    """Integers."""
    texts: Texts
    """The values that ``content_types`` and ``statuses`` refer to."""
    content_types: bytes
    """References to ``texts``."""
    statuses: bytes
    """References to ``texts``."""
    provenances: list[Provenance]
    """The values that ``origins`` refers to: maps of Provenance's fields."""
    origins: bytes
    """References to ``provenances``."""
    player_ids: Identifiers
    """One a player: with ``player_names``, the values that ``seated`` and ``winners`` refer to."""
    player_names: Annotated[list[str | None], msgspec.Meta(max_length=MAX_TEXTS)]
    seats: bytes
    """Integers: how many players a record has."""
    seated: bytes
    """References to players, one a seat: the players of all records, one record after another."""
    winners: bytes
    """0 for none, ``n`` for the n-th of the record's own ``s`` seats, ``s + n`` for the n-th of all players."""
    created: bytes
    """Instants: ``created_at``."""
    completed: bytes
    """Instants: ``completed_at``."""
    dense: bool = False
    """Whether the pack was made to be small, its records sharing frames."""


def encode_index(
    entries: Sequence[ArchiveEntry],
    counts: Sequence[int],
    dictionary: tuple[int, bytes] | None,
    *,
    text: bool,
    dense: bool = False,
) -> bytes:
    """Write the index of some records.

    Args:
        entries: what is known of them, in the order of the pack; all of one type. Places and stored sizes are not looked at.
        counts: how many of them lie in each frame.
        dictionary: id and checksum of the dictionary they are compressed with.
        text: whether each is followed by a newline.
        dense: whether the pack is a dense one.

    Raises:
        ValueError: if an instant is out of range, or a text no text, holding half a surrogate pair.
    """
    facts = [entry.facts for entry in entries]
    seated = [player for fact in facts for player in fact.players]
    players = _references([*seated, *[fact.winner for fact in facts]])  # a winner was met before, but for one without a seat
    content_types = [entry.content_type for entry in entries]
    statuses = [fact.status for fact in facts]
    texts = _references([*content_types, *statuses])
    origins = [entry.provenance for entry in entries]
    provenances = _references(origins)
    index = Index(
        entity_type=entries[0].entity_type,
        text=text,
        dense=dense,
        dictionary=dictionary,
        counts=pack_numbers(counts),
        lengths=pack_numbers([entry.raw_bytes for entry in entries]),
        checksums=b"".join([entry.checksum for entry in entries]),
        ids=pack_identifiers(entry.entity_id for entry in entries),
        revisions=pack_numbers([entry.revision for entry in entries]),
        content_types=pack_numbers([texts[content_type] for content_type in content_types]),
        statuses=pack_numbers([texts[status] for status in statuses]),
        origins=pack_numbers([provenances[origin] for origin in origins]),
        seats=pack_numbers([len(fact.players) for fact in facts]),
        seated=pack_numbers([players[player] for player in seated]),
        winners=pack_numbers([_winner(fact, players) for fact in facts]),
        created=pack_instants(fact.created_at for fact in facts),
        completed=pack_instants(fact.completed_at for fact in facts),
        texts=[text for text in texts if text is not None],
        provenances=[provenance for provenance in provenances if provenance is not None],
        player_ids=pack_identifiers(player.id for player in players if player is not None),
        player_names=[player.name for player in players if player is not None],
    )
    if max(len(texts), len(players)) > MAX_TEXTS + 1:
        raise ValueError(f"more than {MAX_TEXTS} different players or texts do not go into one pack")
    return msgspec.msgpack.encode(index)


def decode_index(data: bytes, subject: str) -> Index:
    """Read an index; its columns are looked at by `entries_of`.

    Raises:
        IntegrityError: if it is none.
    """
    try:
        return msgspec.msgpack.decode(data, type=Index)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise IntegrityError(f"The index of {subject} is damaged: {error}.") from error


def entries_of(index: Index, pack: str, sizes: Sequence[FrameSize]) -> tuple[list[ArchiveEntry], tuple[int, ...]]:
    """All entries of a pack, as they were given when it was written.

    Args:
        index: the pack's index.
        pack: its key.
        sizes: its data frames.

    Returns:
        The entries, and how many of them lie in each frame.

    Raises:
        IntegrityError: if the index contradicts itself or the frames.
    """
    try:
        counts = unpack_numbers(index.counts, len(sizes))
        return list(_entries(index, pack, sizes, counts)), counts
    except (ValueError, IndexError, UsageError) as error:
        raise IntegrityError(f"The index of pack {pack} is damaged: {error}.") from error


def lay_out(
    pack: str, sizes: Sequence[FrameSize], counts: Sequence[int], lengths: Sequence[int], *, text: bool
) -> Iterator[tuple[Place, int]]:
    """Where each record of a pack lies, and how many bytes it takes there.

    Records fill their frame without gaps; in a pack of text a newline follows each. A record takes the share of its frame's
    bytes that it has of the frame's content, so rounded that the shares add up to the frame. Of records that are all empty, the
    first takes all.

    Raises:
        ValueError: if the records do not fill the frames exactly.
    """
    separator = 1 if text else 0
    rest = iter(lengths)
    offset = 0
    for (stored, content), count in zip(sizes, counts, strict=True):
        begin = shared_out = 0
        for length in islice(rest, count):
            end = begin + length + separator
            upto = stored * end // content if content else stored
            yield Place(pack, offset, stored, begin), upto - shared_out
            begin, shared_out = end, upto
        if not count or begin != content:
            raise ValueError(f"the records do not fill the frame at {offset}")
        offset += stored


def _references(values: Sequence[Value | None]) -> dict[Value | None, int]:
    """The references to values, in the order in which they were first met: 0 for None, else their ranks, from 1 on."""
    return {value: rank for rank, value in enumerate(dict.fromkeys([None, *values]))}


def _winner(facts: Facts, players: Mapping[Player | None, int]) -> int:
    if facts.winner is None:
        return 0
    if facts.winner in facts.players:
        return facts.players.index(facts.winner) + 1
    return len(facts.players) + players[facts.winner]


def _entries(index: Index, pack: str, sizes: Sequence[FrameSize], counts: Sequence[int]) -> Iterator[ArchiveEntry]:
    records = sum(counts)
    if not 0 < records <= MAX_RECORDS:
        raise ValueError(f"it claims {records} records")
    if len(index.checksums) != records * CHECKSUM_BYTES:
        raise ValueError("there are too many or too few checksums")
    check_type(index.entity_type)
    for provenance in index.provenances:
        if not _ARCHIVED_FROM <= provenance.archived_at < _ARCHIVED_BEFORE:
            raise ValueError(f"a record was archived at {provenance.archived_at} microseconds, out of all range")
    lengths = unpack_numbers(index.lengths, records)
    rows = zip(
        _required_ids(index.ids, records),
        unpack_numbers(index.revisions, records),
        _referred(index.content_types, records, index.texts),
        _facts(index, records),
        _referred(index.origins, records, index.provenances),
        lengths,
        lay_out(pack, sizes, counts, lengths, text=index.text),
        strict=True,
    )
    for rank, (entity_id, revision, content_type, facts, provenance, raw_bytes, (place, stored_bytes)) in enumerate(rows):
        if content_type is None or provenance is None:
            raise ValueError("a record is without content type or provenance")
        if not 0 < revision <= _MAX_REVISION:
            raise ValueError(f"a revision is {revision}")
        digest = index.checksums[rank * CHECKSUM_BYTES : (rank + 1) * CHECKSUM_BYTES]
        yield ArchiveEntry(
            index.entity_type,
            entity_id,
            revision,
            content_type,
            facts,
            provenance,
            raw_bytes,
            stored_bytes,
            digest,
            place,
        )


def _facts(index: Index, records: int) -> Iterator[Facts]:
    names = index.player_names
    ids = unpack_identifiers(index.player_ids, len(names))
    players = [Player(identifier, name) for identifier, name in zip(ids, names, strict=True)]
    seats = unpack_numbers(index.seats, records)
    references = unpack_numbers(index.seated, sum(seats))
    if 0 in references:
        raise ValueError("a seat is without a player")
    seated = [players[reference - 1] for reference in references]
    ends = accumulate(seats)
    columns = zip(
        seats,
        ends,
        unpack_numbers(index.winners, records),
        _referred(index.statuses, records, index.texts),
        unpack_instants(index.created, records),
        unpack_instants(index.completed, records),
        strict=True,
    )
    for count, end, winning, status, created_at, completed_at in columns:
        taking_part = tuple(seated[end - count : end])
        winner = None if not winning else taking_part[winning - 1] if winning <= count else players[winning - count - 1]
        yield Facts(taking_part, winner, status, created_at, completed_at)


def _referred(column: bytes, records: int, values: Sequence[Value]) -> list[Value | None]:
    targets = [None, *values]
    return [targets[reference] for reference in unpack_numbers(column, records)]


def _required_ids(column: Identifiers, records: int) -> Iterator[str]:
    for entity_id in unpack_identifiers(column, records):
        problem = "an id is absent" if entity_id is None else id_problem(entity_id)
        if entity_id is None or problem:
            raise ValueError(problem)
        yield entity_id
