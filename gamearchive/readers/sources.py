"""Sources of games: files, folders and standard input, each read by the reader that fits it.

One source never stops the next: what cannot be opened, or breaks in the middle, is one `Rejection`, and reading goes on.
Folders are walked in sorted order. Hidden files and folders, links to folders, and what is no regular file are passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gamearchive.errors import SourceError
from gamearchive.model import GameRecord, Rejection
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


def read_source(source: str | Path, options: ReadOptions | None = None) -> Iterator[GameRecord | Rejection]:
    """Read every game of a file, of a folder and all below it, or, as ``-``, of standard input.

    Yields:
        Each game in the source's order, and a rejection for each record, or source, that cannot be taken.

    Raises:
        UsageError: if ``options.format`` names no known reader.
        ConfigurationError: if an installed reader cannot be loaded.
    """
    options = options or ReadOptions()
    reader = None if options.format is None else reader_named(options.format)
    if str(source) == STDIN:
        yield from _read_stdin(reader, options)
        return
    path = Path(source)
    is_folder = os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a folder on the way may not be entered
    for found in _walk(path, "") if is_folder else [(path, path.name)]:
        if isinstance(found, Rejection):
            yield found
        else:
            yield from _read_file(*found, reader, options)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[Path, str] | Rejection]:
    """Every regular file below a folder, with its path from the top, or the rejection of a folder that cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Rejection(_shown(folder), None, _reason(error))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        elif _is_file(entry):
            yield Path(entry.path), prefix + entry.name


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a regular file; a link that leads nowhere counts as one, so that it is reported."""
    try:
        return entry.is_file() or not Path(entry.path).exists()
    except OSError:
        return True


def _read_file(path: Path, name: str, reader: Reader | None, options: ReadOptions) -> Iterator[GameRecord | Rejection]:
    try:
        with path.open("rb") as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            yield from _read(file, _shown(path), name if regular else None, reader, options)
    except OSError as error:
        yield Rejection(_shown(path), None, _reason(error))


def _read_stdin(reader: Reader | None, options: ReadOptions) -> Iterator[GameRecord | Rejection]:
    try:
        with open(0, "rb", closefd=False) as file:
            yield from _read(file, STDIN, None, reader, options)
    except OSError as error:
        yield Rejection(STDIN, None, _reason(error))


def _read(
    file: BinaryIO, source: str, name: str | None, reader: Reader | None, options: ReadOptions
) -> Iterator[GameRecord | Rejection]:
    """Read an open source. A ``name`` of None is a source that is no file, and may be compressed without saying so."""
    stream = plain_stream(file)
    try:
        stream, name, reader = _unwrap(stream, name, reader)
        if reader is None:
            reader = reader_of_content(stream.peek(HEAD_BYTES))
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


def _shown(path: Path) -> str:
    """A path as text, for names that are not UTF-8 too."""
    return os.fsencode(path).decode("utf-8", "replace")


def _reason(error: OSError) -> str:
    return f"it cannot be read: {error.strerror or error}"
