"""``storage``: a storage is told what it can and cannot do, and left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run
from s3_servers import Rclone

from gamearchive.clock import SystemClock
from gamearchive.stores.filesystem import FileSystemStore

CHECKS = "put get absent size overwrite put-new delete delete-many list large concurrent first".split()  # noqa: SIM905


def test_a_folder_can_do_it_all_and_is_left_as_it_was(gamearchive: Run, tmp_path: Path) -> None:
    folder = tmp_path / "packs"
    ended = gamearchive("storage", "check", folder.as_uri(), "--json")
    *items, summary = map(json.loads, ended.out.splitlines())
    assert ended.code == 0
    assert [(item["check"], item["result"]) for item in items] == [(name, "yes") for name in CHECKS]
    assert (summary.pop("type"), summary.pop("missing")) == ("summary", 0)
    assert list(summary) == ["put_seconds", "get_seconds", "put_bytes_per_second", "get_bytes_per_second"]
    assert min(summary.values()) > 0
    assert list(folder.rglob("*")) == [folder / ".tmp"]


def test_what_a_killed_check_left_goes_with_another_a_day_later(gamearchive: Run, tmp_path: Path) -> None:
    store = FileSystemStore(tmp_path / "packs")
    now = SystemClock().now()
    kept = ["a.zst", f"check-{now}-a/put/b", "check-of-mine/c"]
    for key in (*kept, f"check-{now - 86_500_000_000}-b/put/b"):
        store.put(key, b"x")
    assert gamearchive("storage", "check", store.url).code == 0
    assert [key for key, _ in store.list()] == kept


def test_the_storage_of_the_settings_is_meant_where_none_is_named(gamearchive: Run, rclone: Rclone) -> None:
    bucket = rclone.new_bucket()
    ended = gamearchive("storage", "check", "--storage", rclone.url(bucket, "packs"))
    assert ended.code == 0
    assert ended.out.startswith("put\tyes\twhat is put is there, byte for byte\n")
    assert ended.err.startswith("Fit to keep an archive. A small object is put in ")
    assert [path for path in (rclone.folder / bucket).rglob("*") if path.is_file()] == []


def test_a_storage_that_cannot_be_reached(gamearchive: Run, rclone: Rclone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gamearchive("storage", "check", rclone.url("nonesuch")).code == 15
    assert gamearchive("storage", "check", "gopher://x").code == 16
