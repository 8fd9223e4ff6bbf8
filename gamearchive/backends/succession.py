"""One backend after another: the new one takes what comes, and what the ones before have is still read from them."""

from __future__ import annotations

from collections.abc import Sequence

from gamearchive.backends.base import Deposit, Holdings
from gamearchive.errors import UnavailableError
from gamearchive.model import ArchiveEntry
from gamearchive.packs.dictionary import Dictionary


class Succession(Holdings):
    """Holdings that have followed on others.

    Args:
        present: those that games are put into.
        former: those that held them until now.
    """

    def __init__(self, present: Holdings, former: Holdings) -> None:
        self._present = present
        self._former = former

    @property
    def name(self) -> str:
        return self._present.name

    def put(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        return self._present.put(entries, payloads, dictionary)

    def put_dictionary(self, dictionary: Dictionary) -> None:
        self._present.put_dictionary(dictionary)

    def get(self, entry: ArchiveEntry) -> bytes:
        errors: list[Exception] = []
        for holdings in (self._present, self._former):
            try:
                return holdings.get(entry)
            except Exception as error:  # noqa: BLE001 - a stranger's may raise anything for what it does not have
                errors.append(error)
        raise next((error for error in errors if isinstance(error, UnavailableError)), errors[0])

    def close(self) -> None:
        self._present.close()
        self._former.close()
