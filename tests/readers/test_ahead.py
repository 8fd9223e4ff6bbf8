"""Reading ahead, by a thread and by a process: both give the same, and neither keeps anybody waiting."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from gamearchive.errors import ConfigurationError, UnavailableError, UsageError
from gamearchive.facts import FactRules
from gamearchive.model import Rejection
from gamearchive.readers import ReadOptions, ahead, apart, read_source
from gamearchive.readers.ahead import read_ahead
from gamearchive.readers.apart import read_apart
from gamearchive.readers.batches import Batch, batches

OPTIONS = ReadOptions("match", tags=(("a", "b"),), rules=FactRules(players="/seats/*/name"))


def never() -> bool:
    return False


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "a.ndjson").write_bytes(b'{"id": 1, "seats": [{"name": "A"}]}\n{"id": "cut\n{"id": "\xff"}\n' * 3)
    (tmp_path / "folder" / "deep" / "b.rep").write_bytes(bytes(range(256)))
    (tmp_path / "c.pgn").write_bytes(b'[White "A"]\n[Black "B"]\n\n1. e4 e5 1-0\n')
    return [str(tmp_path / name) for name in ("folder", "absent", "c.pgn")]


@pytest.fixture(params=["thread", "process"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes all sources be read by a thread, or all by a process."""
    monkeypatch.setattr(ahead, "APART_BYTES", 1 << 60 if request.param == "thread" else 0)


def summed(found: Iterator[Batch]) -> tuple[list[object], list[bytes], list[Rejection]]:
    records: list[object] = []
    checksums: list[bytes] = []
    rejections: list[Rejection] = []
    for batch in found:
        # As tuples: a record that came from a process is of a class of its own, for it is not checked again.
        records += [(r.entity_type, r.entity_id, r.payload, r.content_type, r.facts, r.tags) for r in batch.records]
        checksums += batch.checksums
        rejections += batch.rejections
    return records, checksums, rejections


@pytest.mark.usefixtures("either")
def test_it_gives_what_the_sources_hold(sources: list[str]) -> None:
    found = [each for source in sources for each in read_source(source, OPTIONS)]
    expected = summed(batches(found))
    assert len(expected[0]) == 5
    assert len(expected[2]) == 7
    assert summed(read_ahead(sources, OPTIONS, never)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="has no such names")
@pytest.mark.usefixtures("either")
def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    source = os.fsencode(tmp_path) + b"/\xff.ndjson"
    Path(os.fsdecode(source)).write_bytes(b'{"id": 1}\n')
    assert len(summed(read_ahead([os.fsdecode(source)], OPTIONS, never))[0]) == 1


@pytest.mark.usefixtures("either")
def test_nothing_to_read(tmp_path: Path) -> None:
    assert summed(read_ahead([str(tmp_path)], OPTIONS, never)) == ([], [], [])


@pytest.mark.usefixtures("either")
def test_an_error_comes_after_what_was_read_before_it(sources: list[str]) -> None:
    with pytest.raises(UsageError, match="nonsense"):
        list(read_ahead(sources, ReadOptions(format="nonsense"), never))


def test_an_error_keeps_its_class_its_message_and_its_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "broken-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[gamearchive.readers]\nbroken = nowhere:Reader\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "a.unknown"
    source.write_bytes(b"\0")
    with pytest.raises(ConfigurationError, match="'broken' of 'nowhere:Reader' cannot be loaded") as caught:
        list(read_apart([str(source)], OPTIONS))
    assert caught.value.hint == "Mend or uninstall the package that brings it."


@pytest.mark.usefixtures("either")
def test_stopped_before_anything(sources: list[str]) -> None:
    assert list(read_ahead(sources, OPTIONS, lambda: True)) == []


@pytest.mark.usefixtures("either")
def children() -> set[str]:
    """The processes that this one has started, where the system tells."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def test_left_early_it_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "a.ndjson"
    source.write_bytes(b"".join(b'{"id": %d}\n' % number for number in range(50_000)))
    before, others = threading.active_count(), children()
    reading = read_ahead([str(source)], OPTIONS, never)
    assert next(reading).records
    reading.close()
    for thread in threading.enumerate():
        if thread.name == "gamearchive-source":
            thread.join(10)
    assert threading.active_count() <= before
    assert children() <= others


def test_what_a_reader_prints_is_no_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "talkative.py").write_text(
        "from gamearchive.readers import Reader\n"
        "class TalkativeReader(Reader):\n"
        "    name = 'talkative'\n"
        "    def read(self, stream, context):\n"
        "        print('reading', context.source, flush=True)\n"
        "        yield context.record(stream.read_whole(100), content_type='text/plain', entity_id=context.name)\n"
    )
    package = tmp_path / "talkative-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: talkative\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[gamearchive.readers]\ntalkative = talkative:TalkativeReader\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "a.talk"
    source.write_bytes(b"a game")
    (batch,) = read_apart([str(source)], ReadOptions(format="talkative"))
    assert [record.payload for record in batch.records] == [b"a game"]


@pytest.mark.parametrize(
    "ending", ["", "import os; os.write(1, (1000).to_bytes(8, 'little') + b'cut')", "import os; os.abort()"]
)
def test_a_process_that_dies_is_told_from_one_that_is_done(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(apart, "_SERVE", f"import sys; sys.stdin.read(); {ending}")
    with pytest.raises(UnavailableError, match="died in the middle"):
        list(read_apart([], OPTIONS))


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes cannot be asked")
@pytest.mark.parametrize("lines", [1, 3], ids=["one line", "lines"])
def test_what_comes_through_a_pipe_is_handed_on_while_more_is_waited_for(tmp_path: Path, lines: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    stopped = threading.Event()
    found: Queue[Batch] = Queue()

    def read() -> None:
        for batch in read_ahead([str(tmp_path / "pipe")], OPTIONS, stopped.is_set):
            found.put(batch)

    reading = threading.Thread(target=read)
    reading.start()
    sent = 0
    with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
        for _ in range(3):
            pipe.write(b"".join(b'{"id": %d}\n' % number for number in range(sent, sent + lines)))
            sent += lines
            got = 0
            while got < lines:
                got += len(found.get(timeout=60).records)
            assert got == lines
        stopped.set()  # and the pipe is still open
        reading.join(60)
        assert not reading.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such pipes")
def test_a_stop_is_heard_where_nobody_ever_opens_the_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    answers = iter([False, False])
    assert summed(read_ahead([str(tmp_path / "pipe")], OPTIONS, lambda: next(answers, True))) == ([], [], [])


def test_what_is_read_by_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "APART_BYTES", 3 * 4096)
    (tmp_path / "folder").mkdir()
    for number in range(3):
        (tmp_path / "folder" / f"{number}.json").write_bytes(b"{}")
    (tmp_path / "large").write_bytes(bytes(3 * 4096))
    (tmp_path / "small").write_bytes(bytes(4096))
    folder, large, small, absent = (str(tmp_path / name) for name in ("folder", "large", "small", "absent"))
    assert ahead._are_large([large])
    assert ahead._are_large([small, small, absent, small])
    assert ahead._are_large([folder])  # to open a file takes as long as to read some of it
    assert not ahead._are_large([small, absent])
    assert not ahead._are_large([large, "-"])
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        assert not ahead._are_large([large, str(tmp_path / "pipe")])
