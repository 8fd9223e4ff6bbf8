"""A replica on a real S3 server that freezes or dies in the middle: nothing is lost or doubled, and it goes on by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Timer

import conftest
import pytest
from archiving import games
from s3_servers import Rclone, boto3_environment

from gamearchive.archive import Archive
from gamearchive.backends.composite import CompositeHoldings
from gamearchive.backends.composite_store import CompositeStore
from gamearchive.backends.parts import Part
from gamearchive.catalog import Catalog
from gamearchive.clock import SystemClock
from gamearchive.errors import StorageUnavailableError
from gamearchive.operations.resync import resync
from gamearchive.operations.verify import verify
from gamearchive.ownership import check_owner
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.s3 import S3Store

PATIENCE = 0.5
BATCHES = 12

Ailment = tuple[Callable[[Rclone], None], Callable[[Rclone], None]]
AILMENTS: dict[str, Ailment] = {"frozen": (Rclone.freeze, Rclone.go_on), "killed": (Rclone.kill, Rclone.start)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rclone]:
    for name, value in boto3_environment(AWS_MAX_ATTEMPTS="1").items():
        monkeypatch.setenv(name, value)
    made = conftest.start("S3", Rclone)
    yield made
    made.stop()


class Place:
    """An archive in a folder and a bucket."""

    def __init__(self, folder: Path, server: Rclone, bucket: str, catalog: Catalog, quorum: int = 1) -> None:
        self.folder, self.bucket = folder, server.folder / bucket
        stores = {"disk": FileSystemStore(folder), "bucket": S3Store(bucket, endpoint_url=server.endpoint_url)}
        parts = [Part(name, "hot", store, SystemClock()) for name, store in stores.items()]
        self.store = CompositeStore(parts, quorum, patience=PATIENCE)
        self.archive = Archive(catalog, CompositeHoldings(self.store), SystemClock())
        check_owner(catalog, self.archive.holdings, claim=True)

    def contents(self) -> list[dict[str, bytes]]:
        """What lies in either part."""
        return [
            {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
            for root in (self.folder, self.bucket)
        ]

    def resync(self) -> list[bool]:
        """Bring the parts up to date; whether each finding was put right."""
        steps = resync(self.archive, self.archive.holdings, nullcontext)  # type: ignore[arg-type]
        return [repaired for step in steps for _, repaired in step.found]

    def is_well(self) -> bool:
        return not [found for checked in verify(self.archive, full=True) for found in checked.found]


@pytest.fixture
def place(tmp_path: Path, server: Rclone, catalog: Catalog) -> Place:
    return Place(tmp_path / "disk", server, server.new_bucket(), catalog)


@pytest.mark.only("sqlite", "it is about storages")
@pytest.mark.parametrize("ailment", AILMENTS)
def test_a_part_fails_while_games_are_archived_and_read(place: Place, server: Rclone, ailment: str) -> None:
    harm, heal = AILMENTS[ailment]
    records = games(BATCHES * 10)
    for number in range(BATCHES):
        if number == 3:
            harm(server)
        added = place.archive.add(records[number * 10 : number * 10 + 10])
        assert [place.archive.read(entry) for entry in added.entries] == [
            record.payload for record in records[number * 10 : number * 10 + 10]
        ]
    disk, bucket = place.contents()
    assert len(bucket) < len(disk)
    assert place.store.notes()["bucket"]
    heal(server)
    assert all(place.resync())
    disk, bucket = place.contents()
    assert disk == bucket
    assert place.store.notes() == {}
    assert place.is_well()
    assert place.archive.catalog.sizes().packs == len([key for key in disk if key.endswith(".zst")]) == BATCHES


@pytest.mark.only("sqlite", "it is about storages")
@pytest.mark.parametrize("ailment", AILMENTS)
def test_a_part_fails_while_it_is_brought_up_to_date(place: Place, server: Rclone, ailment: str) -> None:
    harm, heal = AILMENTS[ailment]
    for number in range(BATCHES):
        place.archive.add(games(5, first=number * 5))
    lost = [path.relative_to(place.bucket).as_posix() for path in place.bucket.rglob("*.zst")]
    for key in lost:
        server.client.delete_object(Bucket=place.bucket.name, Key=key)
    steps = resync(place.archive, place.archive.holdings, nullcontext)  # type: ignore[arg-type]
    for step in steps:
        if step.found:
            break
    else:
        pytest.fail("nothing was found missing")
    harm(server)
    timer = Timer(2, heal, [server])
    timer.start()
    try:
        rest = [repaired for step in steps for _, repaired in step.found]
    except StorageUnavailableError:
        assert ailment == "killed"
    else:
        assert all(rest)
    timer.join()
    assert all(place.resync())
    disk, bucket = place.contents()
    assert disk == bucket
    assert place.is_well()


@pytest.mark.only("sqlite", "it is about storages")
@pytest.mark.parametrize("ailment", AILMENTS)
def test_with_both_needed_nothing_counts_until_both_are_there(
    tmp_path: Path, server: Rclone, catalog: Catalog, ailment: str
) -> None:
    harm, heal = AILMENTS[ailment]
    place = Place(tmp_path / "disk", server, server.new_bucket(), catalog, quorum=2)
    place.archive.add(games(5))
    harm(server)
    if ailment == "frozen":  # a request is not given up before its time, and is answered
        Timer(2, heal, [server]).start()
        assert len(place.archive.add(games(5, first=5)).entries) == 5
    else:
        with pytest.raises(StorageUnavailableError, match="Fewer than 2 of the 2 parts"):
            place.archive.add(games(5, first=5))
        heal(server)
        assert len(place.archive.add(games(5, first=5)).entries) == 5
    assert place.is_well()
    disk, bucket = place.contents()
    assert disk == bucket
