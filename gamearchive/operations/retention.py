"""Retention carried out: what the rules say is planned, shown, done, and can be undone for a time.

Games that expire go into the trash, all at once out of every listing; what has been there for long enough leaves the catalog,
and packs that nothing is in any more are removed. Three hundred games change at a time, and after them others get their
turn. Killed at any moment, this leaves no game half gone: run again, it goes on.

Two things stop it before it does harm: a plan that would let more than a share of all games go, and a clock that has jumped.
The time is taken for right if the archive has seen it pass: since the last run, or since the newest game if there was none, no
month is without anything archived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TypedDict, TypeVar

from gamearchive.archive import Archive
from gamearchive.census import hole_since, take_census
from gamearchive.database import duties
from gamearchive.errors import (
    ConfigurationError,
    NotFoundError,
    RefusedError,
    RetainedError,
    UnsupportedError,
    UsageError,
)
from gamearchive.holds import Hold
from gamearchive.ledger import Ledger, read_ledger, write_ledger
from gamearchive.model import ArchiveEntry, EntityKey
from gamearchive.plans import STALE, Item, Plan, SavedPlan, item_of
from gamearchive.retention import Rule, Trial, version
from gamearchive.trash import CHUNK, Due, Sorted, Trash
from gamearchive.units import SECOND, format_instant

HOLD_SECONDS = 60.0
"""How long it is waited for one who has the archive to himself."""

_DUTY = "retention applied"
_HOLE = 31 * 86_400 * SECOND
_BREATH_SECONDS = 0.1
T = TypeVar("T")


class Options(TypedDict, total=False):
    """How games are let go: see `Retention.apply`."""

    wait: float
    max_share: float
    trust_clock: bool
    dry_run: bool
    detailed: bool
    stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """Some games that have gone, or would; as items where they were asked for."""

    done: Sorted
    items: Sequence[Item] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """What it adds to the sums."""
        going, held = len(self.done.going), len(self.done.held)
        return {"expired": going, "kept": -going - held, "held": held, "bytes": self.done.stored_bytes}


@dataclass(frozen=True, slots=True)
class Emptied:
    """What has left the trash for good: so many revisions, so many packs; and packs that the storage retains, with why."""

    revisions: int = 0
    packs: int = 0
    retained: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Mapping[str, int]:
        """What it adds to the sums."""
        return {"purged": self.revisions, "packs": self.packs}


class Retention:
    """Retention of an archive.

    Args:
        archive: which.
        rules: in their order.
        undelete_seconds: so long what has expired can be brought back.
    """

    def __init__(self, archive: Archive, rules: Sequence[Rule], *, undelete_seconds: float) -> None:
        self._archive = archive
        self._rules = rules
        self._window = round(undelete_seconds * SECOND)
        self._database = archive.catalog.database
        self._trash = Trash(archive.catalog)

    def plan(self) -> Plan:
        """What would go now.

        Raises:
            ConfigurationError: if there are no rules.
        """
        if not self._rules:
            raise ConfigurationError(
                "There are no rules of retention, so nothing expires.",
                hint="Write [[retention]] rules into gamearchive.toml: the README has an example.",
            )
        now = self._archive.clock.now()
        trial = Trial(self._rules, now)
        plan = Plan(self._archive.catalog.identity(), self._rules, now, take_census(self._archive.catalog, trial))
        due = dict(sorted(trial.expired(), key=lambda found: found[0]))
        for numbers in _chunks(due):
            found = self._trash.sort(numbers, now)
            plan.going |= {number: due[number] for number in found.going}
            plan.held |= found.held
            plan.busy += found.busy
            plan.stored_bytes += found.stored_bytes
        return plan

    def items(self, plan: Plan) -> Iterator[Item]:
        """The games of a plan."""
        for numbers in _chunks(plan.going):
            yield from self._items(numbers, plan.going)

    def _items(self, numbers: Sequence[int], rules: Mapping[int, Rule]) -> Iterator[Item]:
        for number, entry in self._trash.entries(numbers):
            yield item_of(number, entry, rules[number])

    def apply(
        self,
        saved: SavedPlan | None = None,
        *,
        wait: float = 0.0,
        max_share: float = 1.0,
        trust_clock: bool = False,
        dry_run: bool = False,
        detailed: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[Plan | Step | Emptied]:
        """Let games expire, and empty the trash of what has been in it for long enough.

        Args:
            saved: exactly these; None for those that the rules let go now.
            wait: seconds to wait for another who is at it.
            max_share: the share of all games that may go.
            trust_clock: whether the clock is right, however little of the time it tells was seen to pass.
            dry_run: do nothing.
            detailed: whether steps have items.
            stopping: whether to leave after the step in hand; the trash is not emptied then.

        Yields:
            What will be done, before anything is; then what was, and at last what has left the trash.

        Raises:
            LockedError: if another process is at it.
            RefusedError: if more would go than may, the clock has jumped, or the archive has changed since the plan was made;
                nothing is done.
            UnsupportedError: if nothing can be deleted from this storage.
        """
        with self._database.retain(wait), self._database.hold(shared=True, wait=HOLD_SECONDS):
            if not dry_run:
                self._archive.holdings.notes()
            if not trust_clock:
                self._check_clock()
            plan = self.plan() if saved is None else self._from(saved)
            _check_share(plan, max_share)
            yield plan
            now = plan.made_at
            for numbers in _chunks(plan.going):
                if stopping():
                    break
                done = self._trash.sort(numbers, now) if dry_run else self._breathing(partial(self._trash.expire, numbers, now))
                yield Step(done, tuple(self._items(done.going, plan.going)) if detailed else ())
            if not dry_run and plan.going:
                self._record()
            if stopping():
                return
            yield self._empty(now, dry_run=dry_run)
            if not dry_run:
                with self._database.write() as connection:
                    duties.note(connection, _DUTY, now)

    def _from(self, saved: SavedPlan) -> Plan:
        """A plan that was made before, if all is still as it was then."""
        now = self._archive.clock.now()
        identity = self._archive.catalog.identity()
        if saved.archive != identity:
            raise RefusedError("The plan is of another archive.", hint=STALE)
        if saved.rules != version(self._rules):
            raise RefusedError("The rules of retention have changed since the plan was made.", hint=STALE)
        rules = {rule.name: rule for rule in self._rules}
        plan = Plan(identity, self._rules, now, self._archive.catalog.count_games())
        wanted = {item.number: item for item in saved.items}
        for numbers in _chunks(wanted):
            found = self._trash.sort(numbers, now)
            for number in [*found.changed, *found.busy, *found.held]:
                item, hold = wanted[number], found.held.get(number)
                why = f"is held: {hold.reason}" if hold else "is in play" if number in found.busy else "is no longer there"
                raise RefusedError(f"Since the plan was made, the {item.entity_type} {item.entity_id!r} {why}.", hint=STALE)
            for number, entry in self._trash.entries(numbers):
                item = wanted[number]
                if (*entry.key, entry.checksum.hex()) != (item.entity_type, item.entity_id, item.checksum):
                    raise RefusedError("The catalog was made anew since the plan was made.", hint=STALE)
                if item.rule not in rules:
                    raise RefusedError(f"There is no rule {item.rule!r}, by which the plan lets games go.", hint=STALE)
                plan.going[number] = rules[item.rule]
            plan.stored_bytes += found.stored_bytes
        return plan

    def _check_clock(self) -> None:
        now = self._archive.clock.now()
        with self._database.read() as connection:
            since = duties.last(connection, _DUTY)
        hole = hole_since(self._archive.catalog.database, since, now)
        if hole is not None and hole[1] - hole[0] > _HOLE:
            raise RefusedError(
                f"The clock says {format_instant(now)}, and this archive has seen nothing between "
                f"{format_instant(hole[0])} and {format_instant(hole[1])}: it may have jumped.",
                hint="If it is right, add --trust-clock, once.",
            )

    def _empty(self, now: int, *, dry_run: bool) -> Emptied:
        """Let go for good what has been in the trash for long enough."""
        due = self._trash.due(now - self._window)
        held = self._trash.held(due, now)
        due = [each for each in due if each.number not in held]
        if dry_run:
            return Emptied(len(due))
        if due:
            self._note_purged(due)
        revisions = 0
        for start in range(0, len(due), CHUNK):
            some = due[start : start + CHUNK]
            revisions += self._breathing(partial(self._trash.purge, some, now))
        removed, retained = [], {}
        for key in self._trash.empty_packs():
            try:
                if self._archive.holdings.remove(key):
                    removed.append(key)
                self._trash.forget_packs([key])
            except RetainedError as error:
                retained[key] = error.message
        if due or removed:
            self._trash.forget_batches()
            self._record()
        return Emptied(revisions, len(removed), retained)

    def _note_purged(self, due: Sequence[Due]) -> None:
        """Note in the ledger what is to leave the catalog, before it does: packs that stay for others' sake still hold it."""
        ledger = read_ledger(self._archive.holdings)
        purged = {pack: list(games) for pack, games in ledger.purged.items()}
        for start in range(0, len(due), CHUNK):
            for pack, key, archived_at in self._trash.names_of(due[start : start + CHUNK]):
                purged.setdefault(pack, []).append((key, archived_at))
        self._write(purged)

    def _record(self, back: frozenset[EntityKey] = frozenset()) -> None:
        """Bring the ledger up to date. What lay in packs that are gone need not be known any more, nor what came back."""
        purged = read_ledger(self._archive.holdings).purged
        strays = [pack for pack in purged if not self._archive.catalog.has_pack(pack)]
        there = {held.key for held in self._archive.holdings.packs()} if strays else set()
        kept = {
            pack: [game for game in games if game[0] not in back]
            for pack, games in purged.items()
            if pack not in strays or pack in there
        }
        self._write(kept)

    def _write(self, purged: Mapping[str, Sequence[tuple[EntityKey, int]]]) -> None:
        ledger = Ledger(self._trash.holds(), {}, {pack: games for pack, games in purged.items() if games})
        expired = (found for found in self._trash.contents() if not ledger.has_purged(found.key, found.archived_until))
        ledger = replace(ledger, expired={found.key: found for found in expired})
        write_ledger(self._archive.holdings, ledger, self._archive.clock.now())

    def bring_back(self, keys: Sequence[EntityKey], *, wait: float = 0.0) -> int:
        """Take games out of the trash; how many revisions that are.

        Raises:
            LockedError: if another process is at it.
        """
        with self._database.retain(wait), self._database.hold(shared=True, wait=HOLD_SECONDS):
            count = sum(self._trash.bring_back(key) for key in keys)
            self._record(frozenset(keys))
            return count

    def in_trash(self, entity_id: str, entity_type: str | None = None) -> ArchiveEntry:
        """The game that is in the trash under an id.

        Raises:
            NotFoundError: if there is none.
            UsageError: if there are several, of several types.
        """
        found = self._trash.find(entity_id, entity_type)
        if not found:
            raise NotFoundError(
                f"No game {entity_id!r} is in the trash.", hint="List what is archived with `gamearchive query`."
            )
        if len(found) > 1:
            types = ", ".join(entry.entity_type for entry, _ in found)
            raise UsageError(f"The id {entity_id!r} stands for games of several types: {types}.", hint="Say which with --type.")
        return found[0][0]

    def holds(self) -> list[Hold]:
        """All holds."""
        return self._trash.holds()

    def hold(self, wanted: Sequence[Hold], *, wait: float = 0.0) -> list[Hold]:
        """Hold games; the holds, with their numbers.

        Raises:
            LockedError: if another process is at it.
            NotFoundError: if one is on a game that is not archived; none is made then.
        """
        with self._database.retain(wait), self._database.hold(shared=True, wait=HOLD_SECONDS):
            for hold in wanted:
                if hold.entity_id is not None and not self._trash.find(hold.entity_id, hold.entity_type):
                    self._archive.get(hold.entity_id, hold.entity_type)
            made = self._trash.hold(wanted)
            self._record_holds()
            return made

    def release(self, numbers: Sequence[int], *, wait: float = 0.0) -> int:
        """Take holds away; how many.

        Raises:
            LockedError: if another process is at it.
            NotFoundError: if there is none of one of these numbers; none is taken away then.
        """
        with self._database.retain(wait), self._database.hold(shared=True, wait=HOLD_SECONDS):
            missing = set(numbers) - {hold.number for hold in self._trash.holds()}
            if missing:
                raise NotFoundError(f"There is no hold {min(missing)}.", hint="List them: `gamearchive retention hold list`.")
            count = self._trash.release(numbers)
            self._record_holds()
            return count

    def _record_holds(self) -> None:
        with suppress(UnsupportedError):  # a catalog of which nothing is kept beside the games cannot be made anew anyway
            self._record()

    def _breathing(self, work: Callable[[], T]) -> T:
        """Do something in one transaction, and then leave the database to others for as long."""
        clock = self._archive.clock
        started = clock.monotonic()
        done = work()
        time.sleep(min(max(clock.monotonic() - started, 0.0), _BREATH_SECONDS))
        return done


def _check_share(plan: Plan, max_share: float) -> None:
    if len(plan.going) > max_share * plan.games:
        raise RefusedError(
            f"{len(plan.going):,} of {plan.games:,} games would go, which is more than {max_share * 100:g}% of them.",
            hint="Look at `gamearchive retention plan`. If that is right, allow for more: --max-share 100%.",
        )


def _chunks(numbers: Mapping[int, object] | Sequence[int]) -> Iterator[list[int]]:
    waiting = iter(numbers)
    while some := list(islice(waiting, CHUNK)):
        yield some
