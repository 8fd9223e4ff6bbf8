"""Games out of the archive: to a stream, into a folder with one file a game, or into one file with all of them.

Nothing is written over unless that is asked for, and a file appears whole or not at all, whatever the game's id holds.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from gamearchive import files
from gamearchive.archive import Archive
from gamearchive.errors import ExistsError, GameArchiveError, IntegrityError, UsageError
from gamearchive.model import JSON, PGN, ArchiveEntry, media_type
from gamearchive.names import safe_name, safe_path

_SUFFIXES = {JSON: ".json", PGN: ".pgn"}
_ONE_FILE = {".ndjson": JSON, ".jsonl": JSON, ".pgn": PGN}
_WRITERS, _IN_HAND, _IN_HAND_BYTES = 8, 64, 16 << 20
_LINE_END = re.compile(rb"[\r\n]+\s*")


@dataclass(frozen=True, slots=True)
class Restored:
    """A game that was restored, and the file it went to; or the error that kept it.

    ``folded`` is whether its line ends became blanks, in a file of lines.
    """

    entry: ArchiveEntry
    path: Path | None = None
    error: GameArchiveError | None = None
    folded: bool = False


def restore_each(archive: Archive, entries: Iterable[ArchiveEntry], write: Callable[[bytes], object]) -> Iterator[Restored]:
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
        ended = media_type(entry.content_type) not in _SUFFIXES or data.endswith(b"\n")
        yield Restored(entry)


def restore_to_folder(
    archive: Archive, entries: Iterable[ArchiveEntry], folder: Path, *, force: bool, own: tuple[str, ...] = ()
) -> Iterator[Restored]:
    """Write one file a game into a folder, which is made if need be.

    A file is named by the game's id, its slashes being folders, or by what is readable of an id that could do harm. Where games
    of one run would share a name (of several types, or in several revisions), those after the first have longer ones.

    Args:
        archive: where from.
        entries: which games.
        folder: where to; nothing is written elsewhere, through no link either.
        force: write over what is there.
        own: how the resolved paths begin of the archive's own files, which nothing is written over.
    """
    names = _Names(folder, own)
    # Syncing is waiting: several files are written at once, and the disk syncs them together.
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="gamearchive-restore") as executor:
        in_hand: deque[tuple[ArchiveEntry, Path, Future[None]]] = deque()
        raw_bytes = 0
        for entry in entries:
            while in_hand and (len(in_hand) == _IN_HAND or raw_bytes + entry.raw_bytes > _IN_HAND_BYTES):
                raw_bytes -= in_hand[0][0].raw_bytes
                yield _finish(*in_hand.popleft())
            try:
                data, path = archive.read(entry), names.path(entry)
            except (IntegrityError, ExistsError) as error:
                yield Restored(entry, error=error)
                continue
            in_hand.append((entry, path, executor.submit(files.put, path, data, overwrite=force)))
            raw_bytes += entry.raw_bytes
        while in_hand:
            yield _finish(*in_hand.popleft())


def _finish(entry: ArchiveEntry, path: Path, written: Future[None]) -> Restored:
    try:
        written.result()
    except ExistsError as error:
        return Restored(entry, error=error)
    return Restored(entry, path)


class _Names:
    """The files of one run below a folder: each game's its own, on a disk that takes ``Game`` and ``game`` for the same too."""

    def __init__(self, folder: Path, own: tuple[str, ...]) -> None:
        self._folder = folder
        self._resolved, self._own = folder.resolve().as_posix(), own
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def path(self, entry: ArchiveEntry) -> Path:
        """Where a game goes.

        Raises:
            ExistsError: if a link or a file is where its folder should be, or the archive itself lies there.
        """
        suffix = _suffix(entry)
        name = safe_path(entry.entity_id, suffix)
        if name is None or self._is_taken(name):
            name = safe_name(entry.entity_id, suffix)
        if self._is_taken(name):
            name = safe_name(f"{entry.entity_type}/{entry.entity_id}@{entry.revision}", suffix)
        self._files.add(name.casefold())
        for above in reversed(PurePosixPath(name).parents[:-1]):
            if str(above).casefold() not in self._folders:
                path = self._folder / above
                if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                    raise ExistsError(f"{path} exists already, and is no folder.", hint="Choose another place.")
                self._folders.add(str(above).casefold())
        if f"{self._resolved}/{name}/".startswith(self._own):
            raise ExistsError(f"{self._folder / name} belongs to the archive itself.", hint="Choose another place.")
        return self._folder / name

    def _is_taken(self, name: str) -> bool:
        key = name.casefold()
        above = (str(each) for each in PurePosixPath(key).parents[:-1])
        return key in self._files or key in self._folders or not self._files.isdisjoint(above)


def restore_to_file(archive: Archive, entries: Iterable[ArchiveEntry], path: Path, *, force: bool) -> Iterator[Restored]:
    """Write games into one file: a single one as it is; several by what the name ends in, ``.ndjson`` or ``.pgn``.

    ``.zst`` or ``.gz`` after it compresses the file. A JSON game that spans lines is put on one line there, for NDJSON has no
    other way.

    Args:
        archive: where from.
        entries: which games.
        path: where to.
        force: write over what is there.

    Raises:
        ExistsError: if the file is there.
        UsageError: if the name does not say how to put several games into one file, or asks for another compression.
        IntegrityError: if a game is lost or damaged; the file does not appear then.
    """
    if path.suffix.lower() in _OTHER_COMPRESSIONS:
        raise UsageError(f"{path.name} would have to be compressed in a way that is only read.", hint="Name it *.zst or *.gz.")
    chosen = iter(entries)
    first = next(chosen, None)
    if first is None:
        return
    second = next(chosen, None)
    ending = path.with_suffix("").suffix if path.suffix in _COMPRESSIONS else path.suffix
    kind = _ONE_FILE.get(ending)
    if second is None and ending not in (".ndjson", ".jsonl"):
        with _combined(path, force=force) as stream:
            stream.write(archive.read(first))
        yield Restored(first, path)
        return
    if kind is None:
        raise UsageError(
            f"Several games cannot go into one file named {path.name}.",
            hint="Name it *.ndjson or *.pgn (*.zst or *.gz after it compresses), or a folder, ending in /.",
        )
    with _combined(path, force=force) as stream:
        for entry in _chain(first, second, chosen):
            if media_type(entry.content_type) != kind:
                raise UsageError(
                    f"Game {entry.entity_id!r} is {entry.content_type}, and cannot go into {path.name}.",
                    hint="Restore it into a folder: --output games/.",
                )
            data = archive.read(entry)
            folded = kind == JSON and (b"\n" in data or b"\r" in data)
            stream.write(_joined(data, kind, folded=folded))
            yield Restored(entry, path, folded=folded)


@contextmanager
def _combined(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        stream = stack.enter_context(files.atomic_writer(path, overwrite=force))
        if path.suffix in _COMPRESSIONS:
            stream = stack.enter_context(_COMPRESSIONS[path.suffix](stream))
        yield stream


def _zstd(stream: BinaryIO) -> BinaryIO:
    from zstandard import ZstdCompressor

    return cast("BinaryIO", ZstdCompressor(level=3, write_checksum=True).stream_writer(stream, closefd=False))


def _gzip(stream: BinaryIO) -> BinaryIO:
    from gzip import GzipFile

    return cast("BinaryIO", GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0))


_COMPRESSIONS: dict[str, Callable[[BinaryIO], BinaryIO]] = {".zst": _zstd, ".gz": _gzip}
_OTHER_COMPRESSIONS = (".bz2", ".xz")


def _chain(first: ArchiveEntry, second: ArchiveEntry | None, rest: Iterator[ArchiveEntry]) -> Iterator[ArchiveEntry]:
    yield first
    if second is not None:
        yield second
    yield from rest


def _joined(data: bytes, kind: str, *, folded: bool) -> bytes:
    """A game as it stands in a file of many: JSON on a line of its own, PGN with an empty line behind."""
    if kind == JSON:
        # A line end in JSON stands between tokens, never in a string, so that a blank in its place changes nothing.
        return (_LINE_END.sub(b" ", data.strip()) if folded else data) + b"\n"
    end = b"\r\n" if b"\r\n" in data else b"\n"
    return data.rstrip(b"\r\n") + end + end


def _suffix(entry: ArchiveEntry) -> str:
    suffix = _SUFFIXES.get(media_type(entry.content_type), "")
    return "" if entry.entity_id.endswith(suffix) else suffix
