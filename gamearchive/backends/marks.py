"""Whose the parts of a storage are: each has the mark of the archive, or nothing is put there.

A part without the mark, where others have it, is one whose disk is not mounted, or a new one: `Marks.adopt` says that it is
meant. Where no part has a mark, there is none to look for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gamearchive.backends.packed import MARK_KEY, read_mark
from gamearchive.backends.parts import Part, ask_all, worst
from gamearchive.errors import IntegrityError, NotFoundError, RefusedError, StorageUnavailableError


class Marks:
    """The marks of parts.

    Args:
        parts: which.
        patience: seconds to wait for them.
    """

    def __init__(self, parts: Sequence[Part], patience: float) -> None:
        self._parts, self._patience = parts, patience
        self._lock = threading.Lock()
        self._id: str | None = None
        self._is_known = False

    def id(self) -> str | None:
        """The id of the archive that the parts are marked as; None where none is.

        Raises:
            RefusedError: if they are those of several archives.
        """
        with self._lock:
            if not self._is_known:
                self._id, self._is_known = self._read(), True
            return self._id

    def forget(self) -> None:
        """They may be others by now."""
        with self._lock:
            self._is_known = False

    def settle(self, part: Part) -> None:
        """Make sure that a part is one of this storage's."""
        if part.is_settled:
            return
        try:
            found = mark_of(part)
        except IntegrityError:
            found = self.id()  # it has one, if a damaged one
        if found != self.id():
            raise StorageUnavailableError(
                f"Part {part.name!r} is not marked as this archive's: its disk is not mounted, or it is new.",
                hint=f"Mount it; a new one is filled with `gamearchive storage resync {part.name}`.",
            )
        part.is_settled = True

    def adopt(self, part: Part) -> bool:
        """Mark a part that has no mark: it is meant, and its disk is there. Whether it had none."""
        found = self.id()
        if found is None or part.is_settled or mark_of(part) is not None:
            return False
        part.store.put(MARK_KEY, f"{found}\n".encode())
        part.is_settled = True
        return True

    def suppose(self, part: Part) -> None:
        """Take a part for one of this storage's, as if it had been adopted: to see what that would do."""
        part.is_settled = True

    def _read(self) -> str | None:
        told = ask_all(self._parts, mark_of, self._patience, needed=1)
        found = {outcome.part.name: outcome.result for outcome in told if outcome.result is not None}
        if len(set(found.values())) > 1:
            raise RefusedError(
                f"The parts of the storage are marked as those of several archives: {', '.join(found)}.",
                hint=f"Take the wrong part out of [composite]. If only its mark is wrong, remove {MARK_KEY} there, and run "
                "`gamearchive storage resync PART`.",
            )
        errors = [outcome.error for outcome in told if outcome.error is not None]
        if len(errors) == len(told):
            raise worst(errors)
        return next(iter(found.values()), None)


def mark_of(part: Part) -> str | None:
    """The id in a part's mark; None where it has none."""
    try:
        return read_mark(part.store.get(MARK_KEY), f"part {part.name!r}")
    except NotFoundError:
        return None
