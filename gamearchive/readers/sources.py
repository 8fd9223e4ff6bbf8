"""Sources of games: files, folders and standard input, each read by the reader that fits it.

One source never stops the next: what cannot be opened, or breaks in the middle, is one `Rejection`, and reading goes on.
Folders are walked in sorted order. Hidden files and folders, links to folders, and what is no regular file are passed over.
The archive's own files are left out, wherever they are met, and a `Notice` says so. A name that is not UTF-8 is written with
escapes: ``\\xff``.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from gamearchive.errors import SourceError
from gamearchive.model import GameRecord, Notice, Rejection
from gamearchive.readers.base import ReadContext, Reader, ReadOptions
from gamearchive.readers.registry import reader_named, reader_of_content, reader_of_name
from gamearchive.readers.streams import (
    HEAD_BYTES,
    ByteStream,
    codec_of_content,
    codec_of_name,
    decompressed_stream,
    plain_stream,
)

STDIN = "-"

_log = logging.getLogger(__name__)


def read_sources(sources: Iterable[str], options: ReadOptions) -> Iterator[GameRecord | Rejection | Notice]:
    """Read every game of some sources, one after another: see `read_source`."""
    for source in sources:
        yield from read_source(source, options)


def read_source(source: str | Path, options: ReadOptions | None = None) -> Iterator[GameRecord | Rejection | Notice]:
    """Read every game of a file, of a folder and all below it, or, as ``-``, of standard input.

    Yields:
        Each game in the source's order, a rejection for each record, or source, that cannot be taken, and a notice of what is
        left out for other reasons.

    Raises:
        UsageError: if ``options.format`` names no known reader.
        ConfigurationError: if an installed reader cannot be loaded.
    """
    options = options or ReadOptions()
    reader = None if options.format is None else reader_named(options.format)
    if str(source) == STDIN:
        yield from _read_stdin(reader, options)
        return
    told: set[str] = set()
    for found in _files(Path(source)):
        if isinstance(found, Rejection):
            yield found
            continue
        path, name, resolved = found
        if own := _own(resolved, options.own):
            if own not in told:
                told.add(own)
                yield Notice(_text(own.rstrip("/")), None, "it is this program's own, and is left out")
        else:
            yield from _read_file(path, name, reader, options)


def _files(top: Path) -> Iterator[tuple[Path, str, str] | Rejection]:
    """A file, or every regular file below a folder, with its path from the top and its resolved path.

    A folder that cannot be listed is rejected.
    """
    resolved = Path(os.path.realpath(top)).as_posix()
    if not os.path.isdir(top):  # noqa: PTH112 - Path.is_dir raises where a folder on the way may not be entered
        yield top, _text(top.name), resolved
        return
    # What is still to come, the next one last: files, and folders whose names end in a slash. A tree may be of any depth.
    waiting = [(str(top), "")]
    while waiting:
        path, name = waiting.pop()
        if name and not name.endswith("/"):
            target = Path(os.path.realpath(path)).as_posix() if os.path.islink(path) else f"{resolved}/{name}"  # noqa: PTH114
            yield Path(path), _text(name), target
            continue
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield Rejection(_text(path), None, _reason(error))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{name}{entry.name}/"))
            elif _is_file(entry):
                waiting.append((entry.path, name + entry.name))


def _own(resolved: str, own: tuple[str, ...]) -> str | None:
    """What of the archive's own a path belongs to, if to any."""
    return next((begin for begin in own if f"{resolved}/".startswith(begin)), None)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a regular file; a link that leads nowhere counts as one, so that it is reported."""
    try:
        return entry.is_file() or not Path(entry.path).exists()
    except OSError:
        return True


def _read_file(path: Path, name: str, reader: Reader | None, options: ReadOptions) -> Iterator[GameRecord | Rejection | Notice]:
    try:
        with path.open("rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            yield from _read(file, _text(path), name if regular else None, reader, options)
    except OSError as error:
        yield Rejection(_text(path), None, _reason(error))


def _read_stdin(reader: Reader | None, options: ReadOptions) -> Iterator[GameRecord | Rejection | Notice]:
    try:
        with open(0, "rb", closefd=False) as file:
            yield from _read(file, STDIN, None, reader, options)
    except OSError as error:
        yield Rejection(STDIN, None, _reason(error))


def _read(
    file: BufferedReader, source: str, name: str | None, reader: Reader | None, options: ReadOptions
) -> Iterator[GameRecord | Rejection | Notice]:
    """Read an open source. A ``name`` of None is a source that is no file, and may be compressed without saying so."""
    stream = plain_stream(file)
    try:
        stream, name, reader = _unwrap(stream, name, reader)
        if reader is None:
            reader = reader_of_content(stream.peek(HEAD_BYTES))
        _log.debug("%s is read as %s.", source, reader.name)
        yield from reader.read(stream, ReadContext(source, name, options))
    except SourceError as error:
        yield Rejection(source, stream.line, error.message)


def _unwrap(stream: ByteStream, name: str | None, reader: Reader | None) -> tuple[ByteStream, str | None, Reader | None]:
    """Take off a source's compression, where it has one that is not the game's own affair.

    A name that promises a compression, a text format's name, a format asked for, and a source without a name are looked into.
    Anything else, such as a replay whose format happens to be gzip inside, stays as it is.
    """
    promised = codec_of_name(name) if name is not None else None
    if name is not None:
        if promised is not None:
            name = name[: name.rindex(".")]
        reader = reader or reader_of_name(name)
    found = codec_of_content(stream.peek(HEAD_BYTES)) if promised or name is None or (reader and reader.suffixes) else None
    if found is not None:
        stream = decompressed_stream(stream, found)
    elif promised is not None:
        raise SourceError(f"the file is named as {promised.name} data and does not hold any")
    return stream, name, reader


def _text(path: str | Path) -> str:
    """A path as text that can be stored and shown: what is not UTF-8 in it is escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _reason(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or error}"
