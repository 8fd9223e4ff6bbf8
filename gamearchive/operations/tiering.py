"""From tier to tier by rule: whole packs, copied, read back, and only then deleted where they were.

A rule is that of the tier that packs move to: their age, their type, their size. A pack is as old as the latest game in it.
When a game was read last is noted nowhere, for that would need a write for each read; so no rule goes by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gamearchive.archive import Archive
from gamearchive.backends.composite import CompositeHoldings
from gamearchive.backends.composite_store import is_pack
from gamearchive.composition import Composition, MoveRule
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.units import SECOND


@dataclass(frozen=True, slots=True)
class Moved:
    """A pack that has moved, or is to, or why it cannot."""

    key: str
    stored_bytes: int
    tier: str
    error: IntegrityError | None = None


def tier(
    archive: Archive,
    holdings: CompositeHoldings,
    composition: Composition,
    held: Callable[[], AbstractContextManager[object]],
    *,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Moved]:
    """Move what is due.

    Args:
        archive: whose catalog knows how old packs are.
        holdings: where they lie.
        composition: the rules.
        held: holds the archive, so that nobody deletes packs meanwhile; for one pack at a time.
        dry_run: only tell.
        stopping: whether to leave after the pack in hand.

    Raises:
        StorageUnavailableError: if a tier cannot take a pack, or cannot be listed.
    """
    store = holdings.store
    tier_of = {part.name: part.tier for part in store.parts}
    for copies in store.survey():
        if stopping():
            return
        if not is_pack(copies.key):
            continue
        here = store.tiers.index(tier_of[next(iter(copies.sizes))])
        size = max(size or 0 for size in copies.sizes.values())
        to = None
        for later in store.tiers[here + 1 :]:  # as far as the rules allow, at once
            rule = composition.rule_of(later)
            if rule is None or not _is_due(archive, rule, copies.key, size):
                break
            to = later
        if to is None:
            continue
        error = None
        if not dry_run:
            with held():
                try:
                    holdings.mender.move(copies.key, to)
                except NotFoundError:
                    continue  # deleted meanwhile
                except IntegrityError as caught:
                    error = caught
        yield Moved(copies.key, size, to, error)


def _is_due(archive: Archive, rule: MoveRule, key: str, size: int) -> bool:
    if size < rule.min_bytes or (rule.types and key.partition("/")[0] not in rule.types):
        return False
    archived_at = archive.catalog.archived_at(key)
    return archived_at is not None and archive.clock.now() - archived_at >= rule.after * SECOND
