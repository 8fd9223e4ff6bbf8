"""Plans of retention: which games would go, and why; and their form as a file, one JSON object with a line for each game."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gamearchive.candidates import Listed
from gamearchive.errors import IntegrityError
from gamearchive.holds import Hold
from gamearchive.model import ArchiveEntry
from gamearchive.retention import Rule, version
from gamearchive.units import format_instant

FORMAT = 1
STALE = "Make a new one with `gamearchive retention plan`."


class Item(msgspec.Struct, frozen=True):
    """A game of a plan: the number of its row, what it was then, and why it goes."""

    number: int
    entity_type: str
    entity_id: str
    revision: int
    archived_at: str
    raw_bytes: int
    stored_bytes: int
    checksum: str
    rule: str
    reason: str


class SavedPlan(msgspec.Struct, frozen=True):
    """A plan as it is written to a file, and read from one."""

    plan: int
    archive: str | None
    rules: str
    made_at: str
    expired: int
    kept: int
    held: int
    bytes: int
    items: list[Item]


@dataclass(slots=True)
class Plan:
    """What would go: games by the number of their rows, each with its rule. ``held`` would go but for a hold, ``busy`` but for
    being in play or waiting to be archived.
    """

    archive: str | None
    rules: Sequence[Rule]
    made_at: int
    games: int = 0
    going: dict[int, Rule] = field(default_factory=dict)
    held: dict[int, Hold] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    stored_bytes: int = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """What it adds to the sums of carrying it out, before anything is done."""
        return {"kept": self.games - len(self.held), "held": len(self.held)}

    @property
    def kept(self) -> int:
        """How many games stay, those that are held aside."""
        return self.games - len(self.going) - len(self.held)


def item_of(number: int, entry: ArchiveEntry, rule: Rule) -> Item:
    """A game as an item of a plan."""
    return Item(
        number, entry.entity_type, entry.entity_id, entry.revision, format_instant(entry.provenance.archived_at),
        entry.raw_bytes, entry.stored_bytes, entry.checksum.hex(), rule.name, rule.reason(Listed(entry, number)),
    )  # fmt: skip


def decode_plan(text: bytes) -> SavedPlan:
    """A plan out of a file.

    Raises:
        IntegrityError: if it is none.
    """
    try:
        saved = msgspec.json.decode(text, type=SavedPlan)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"This is not a plan of retention: {error}.", hint=STALE) from None
    if saved.plan != FORMAT:
        raise IntegrityError(f"The plan is of format {saved.plan}, and this program reads {FORMAT}.", hint=STALE)
    return saved


def encode_plan(plan: Plan, items: Iterator[Item]) -> Iterator[bytes]:
    """A plan as JSON, a line for each game; in pieces, for there may be many."""
    head = SavedPlan(
        FORMAT, plan.archive, version(plan.rules), format_instant(plan.made_at), len(plan.going), plan.kept, len(plan.held),
        plan.stored_bytes, [],
    )  # fmt: skip
    yield msgspec.json.encode(head)[:-2]
    between = b"\n"
    for item in items:
        yield between + msgspec.json.encode(item)
        between = b",\n"
    yield b"\n]}\n"
