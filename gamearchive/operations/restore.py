"""Games out of the archive: to a stream, into a folder with one file a game, or into one file with all of them.

Nothing is written over unless that is asked for, and a file appears whole or not at all, whatever the game's id holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from gamearchive import files
from gamearchive.archive import Archive
from gamearchive.errors import ExistsError, GameArchiveError, IntegrityError, UsageError
from gamearchive.model import JSON, PGN, ArchiveEntry

_SUFFIXES = {JSON: ".json", PGN: ".pgn"}
_ONE_FILE = {".ndjson": JSON, ".jsonl": JSON, ".pgn": PGN}
_LINE_END = re.compile(rb"[\r\n]+\s*")


@dataclass(frozen=True, slots=True)
class Restored:
    """A game that was restored, and the file it went to; or the error that kept it."""

    entry: ArchiveEntry
    path: Path | None = None
    error: GameArchiveError | None = None


def restore_each(archive: Archive, entries: Iterable[ArchiveEntry], write: Callable[[bytes], None]) -> Iterator[Restored]:
    """Write the bytes of games one after another, exactly; text games of which there are several with a line end between.

    Args:
        archive: where from.
        entries: which games.
        write: takes the bytes.
    """
    ended = True
    for entry in entries:
        try:
            data = archive.read(entry)
        except IntegrityError as error:
            yield Restored(entry, error=error)
            continue
        write(data if ended else b"\n" + data)
        ended = entry.content_type not in _SUFFIXES or data.endswith(b"\n")
        yield Restored(entry)


def restore_to_folder(archive: Archive, entries: Iterable[ArchiveEntry], folder: Path, *, force: bool) -> Iterator[Restored]:
    """Write one file a game into a folder, which is made if need be.

    A file is named by the game's id. Where games of one run share an id (of several types, or in several revisions), those
    after the first are named by type and revision as well.

    Args:
        archive: where from.
        entries: which games.
        folder: where to.
        force: write over what is there.
    """
    written: set[str] = set()
    for entry in entries:
        name = files.safe_name(entry.entity_id, _suffix(entry))
        if name in written:
            name = files.safe_name(f"{entry.entity_type}/{entry.entity_id}@{entry.revision}", _suffix(entry))
        written.add(name)
        path = folder / name
        try:
            files.put(path, archive.read(entry), overwrite=force)
        except (IntegrityError, ExistsError) as error:
            yield Restored(entry, error=error)
        else:
            yield Restored(entry, path)


def restore_to_file(archive: Archive, entries: Iterable[ArchiveEntry], path: Path, *, force: bool) -> Iterator[Restored]:
    """Write games into one file: a single one as it is; several by what the name ends in, ``.ndjson`` or ``.pgn``.

    ``.zst`` after it compresses the file. A JSON game that spans lines is put on one line there, for NDJSON has no other way.

    Args:
        archive: where from.
        entries: which games.
        path: where to.
        force: write over what is there.

    Raises:
        ExistsError: if the file is there.
        UsageError: if there are several games, and the name does not say how to put them into one file.
        IntegrityError: if a game is lost or damaged; the file does not appear then.
    """
    chosen = iter(entries)
    first = next(chosen, None)
    if first is None:
        return
    second = next(chosen, None)
    ending = path.with_suffix("").suffix if path.suffix == ".zst" else path.suffix
    kind = _ONE_FILE.get(ending)
    if second is None and ending not in (".ndjson", ".jsonl"):
        with _combined(path, force=force) as stream:
            stream.write(archive.read(first))
        yield Restored(first, path)
        return
    if kind is None:
        raise UsageError(
            f"Several games cannot go into one file named {path.name}.",
            hint="Name it *.ndjson or *.pgn (*.zst after it compresses), or a folder, ending in /.",
        )
    with _combined(path, force=force) as stream:
        for entry in _chain(first, second, chosen):
            if entry.content_type != kind:
                raise UsageError(
                    f"Game {entry.entity_id!r} is {entry.content_type}, and cannot go into {path.name}.",
                    hint="Restore it into a folder: --output games/.",
                )
            stream.write(_joined(archive.read(entry), kind))
            yield Restored(entry, path)


@contextmanager
def _combined(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        stream = stack.enter_context(files.atomic_writer(path, overwrite=force))
        if path.suffix == ".zst":
            from zstandard import ZstdCompressor

            writer = ZstdCompressor(level=3, write_checksum=True).stream_writer(stream, closefd=False)
            yield cast("BinaryIO", stack.enter_context(writer))
        else:
            yield stream


def _chain(first: ArchiveEntry, second: ArchiveEntry | None, rest: Iterator[ArchiveEntry]) -> Iterator[ArchiveEntry]:
    yield first
    if second is not None:
        yield second
    yield from rest


def _joined(data: bytes, kind: str) -> bytes:
    """A game as it stands in a file of many: JSON on a line of its own, PGN with an empty line behind."""
    if kind == JSON:
        # A line end in JSON stands between tokens, never in a string, so that a blank in its place changes nothing.
        return (_LINE_END.sub(b" ", data.strip()) if b"\n" in data or b"\r" in data else data) + b"\n"
    end = b"\r\n" if b"\r\n" in data else b"\n"
    return data.rstrip(b"\r\n") + end + end


def _suffix(entry: ArchiveEntry) -> str:
    suffix = _SUFFIXES.get(entry.content_type, "")
    return "" if entry.entity_id.endswith(suffix) else suffix
