"""The parts of a storage, brought up to date: what is missing, wrong or too much in one of them is found and put right.

Only what is missing is sent. An object too much is one that some parts have and others lack, or that lies beside a later tier.
It goes at once where it is needless: if a later tier has it whole, or if it is a pack that the catalog does not name and all of
whose games it has elsewhere. What may still be worth something, or is none of the archive's, goes only if that is asked for
(``prune``); a pack with games that are nowhere else stays even so: ``verify --repair`` takes it into the catalog.

Archiving goes on meanwhile. Packs that the catalog does not name are looked at last, with the archive held alone, for before
that they may be about to be named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from gamearchive.adoption import Adoption
from gamearchive.archive import Archive
from gamearchive.backends.base import BadCopy, Fault
from gamearchive.backends.composite import CompositeHoldings
from gamearchive.backends.composite_store import Copies, is_pack
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError
from gamearchive.packs.dictionary import parse_dictionary_key

_RECORDS = ("_", "gamearchive-")
"""What the names of objects begin with that are the archive's own, beside packs."""


@dataclass(frozen=True, slots=True)
class Resynced:
    """An object that was looked at: its length, and each copy that is not what it should be, with whether it is now, or why
    it is not.
    """

    key: str
    stored_bytes: int
    found: tuple[tuple[BadCopy, bool], ...] = ()


def composite_of(archive: Archive) -> CompositeHoldings:
    """The holdings of an archive whose storage has parts.

    Raises:
        UnsupportedError: if it has none.
    """
    if not isinstance(archive.holdings, CompositeHoldings):
        raise UnsupportedError(
            f"{archive.holdings.name} has no parts to bring up to date.", hint="The README says how [composite] is written."
        )
    return archive.holdings


def resync(
    archive: Archive,
    holdings: CompositeHoldings,
    alone: Callable[[], AbstractContextManager[object]],
    *,
    part: str | None = None,
    full: bool = False,
    prune: bool = False,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Resynced]:
    """Bring the parts up to date.

    Args:
        archive: whose catalog says what is needed.
        holdings: the parts.
        alone: holds the archive, exclusively.
        part: only this one; one without a mark is marked, and filled.
        full: compare bytes, and not only lengths.
        prune: remove also what is not known to be needless.
        dry_run: only look.
        stopping: whether to leave after the object in hand.

    Raises:
        StorageUnavailableError: if so many parts cannot be reached that nobody can say what there is.
    """
    store = holdings.store
    if part is None:
        away = [BadCopy(name, "", Fault.MISSING, str(error), mendable=False) for name, error in store.away()]
        if away:
            yield Resynced("", 0, tuple((each, False) for each in away))
    elif dry_run:
        store.marks.suppose(store.part(part))
    else:
        store.marks.adopt(store.part(part))
        store.marks.settle(store.part(part))
    if not dry_run:
        store.sweep()
    alien: list[Copies] = []
    for copies in store.survey():
        if stopping():
            return
        if _is_alien(archive, copies):
            alien.append(copies)
            continue
        bad = [each for each in holdings.mender.examine(copies, full=full) if part in (None, each.part)]
        yield Resynced(copies.key, _length(copies), _put_right(holdings, copies.key, bad, dry_run=dry_run))
    if part is None and not dry_run:
        holdings.mender.pay(stopping)
    with alone() if alien and not dry_run else nullcontext():
        for copies in alien:
            if not stopping():
                yield _settle_alien(archive, holdings, copies, part, prune=prune, dry_run=dry_run)


def _settle_alien(
    archive: Archive, holdings: CompositeHoldings, copies: Copies, part: str | None, *, prune: bool, dry_run: bool
) -> Resynced:
    there = [name for name, size in copies.sizes.items() if size is not None and part in (None, name)]
    bad = [each for name in there if (each := _judge(archive, name, copies.key, prune=prune)) is not None]
    gone = not dry_run and all(each.mendable for each in bad)
    for each in bad if gone else ():
        holdings.store.part(each.part).store.delete(each.key)
    return Resynced(copies.key, _length(copies), tuple((each, gone) for each in bad))


def _length(copies: Copies) -> int:
    return max(size or 0 for size in copies.sizes.values())


def _is_alien(archive: Archive, copies: Copies) -> bool:
    """Whether an object that some parts lack is to be looked at more closely: it may be too much in the others."""
    if None not in copies.sizes.values():
        return False
    if is_pack(copies.key):
        return not archive.catalog.has_pack(copies.key)
    return parse_dictionary_key(copies.key) is None and not copies.key.startswith(_RECORDS)


def _put_right(
    holdings: CompositeHoldings, key: str, bad: Sequence[BadCopy], *, dry_run: bool
) -> tuple[tuple[BadCopy, bool], ...]:
    if dry_run or not bad:
        return tuple((each, False) for each in bad)
    mended = holdings.mend(key) if any(each.mendable and each.fault is not Fault.EXTRA for each in bad) else ()
    dropped = any(each.fault is Fault.EXTRA for each in bad) and holdings.mender.drop_spare(key)
    return tuple((each, dropped if each.fault is Fault.EXTRA else each.part in mended) for each in bad)


def _judge(archive: Archive, part: str, key: str, *, prune: bool) -> BadCopy | None:
    """What to do about an object that some parts lack, and that the catalog does not name; None if it does by now."""
    if not is_pack(key):
        return BadCopy(part, key, Fault.EXTRA, "it is none of the archive's", mendable=prune)
    if archive.catalog.has_pack(key):
        return None
    adoption = Adoption(archive)
    try:
        use = adoption.use_of(adoption.inspect(key))
    except (IntegrityError, NotFoundError) as error:
        return BadCopy(part, key, Fault.EXTRA, f"the catalog does not name it: {error.message}", mendable=prune)
    if use.wanted:
        reason = f"the catalog does not name it, nor {len(use.wanted)} of its games: `gamearchive verify --repair` takes it in"
        return BadCopy(part, key, Fault.EXTRA, reason, mendable=False)
    needless = not use.lost and not use.overtaken
    why = "which has all its games" if needless else "which has its games with other bytes, or they are lost"
    return BadCopy(part, key, Fault.EXTRA, f"it is not in the catalog, {why}", mendable=needless or prune)
