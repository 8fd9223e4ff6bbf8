"""The commands on an archive whose packs are in a bucket: each does what it does with files."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import conftest
import pytest
from archiving import games
from running import Ended, Run, process
from s3_servers import KEY_ID, SECRET, Moto, Rclone, S3Server, boto3_environment

COUNT = 300  # in three runs, the last with a dictionary


@pytest.fixture
def bucket(rclone: Rclone, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that the settings name, below a prefix."""
    return settle(rclone, rclone.new_bucket(), monkeypatch)


def settle(server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GAMEARCHIVE_HOME", "home")
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", server.url(bucket, "the/packs"))
    return bucket


def fill(gamearchive: Run, count: int = COUNT, runs: int = 3) -> list[bytes]:
    """Archive games; their payloads."""
    records = games(count)
    for run in range(runs):
        part = records[run * count // runs : (run + 1) * count // runs]
        Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in part))
        assert gamearchive("archive", "games.ndjson", "--json").code == 0
    return [record.payload for record in records]


def summary(ended: Ended) -> dict[str, object]:
    return json.loads(ended.out.splitlines()[-1])  # type: ignore[no-any-return]


def items(ended: Ended) -> list[dict[str, object]]:
    return [row for row in map(json.loads, ended.out.splitlines()) if row["type"] == "item"]


def restored(gamearchive: Run) -> list[bytes]:
    """All games, as ``restore`` gives them."""
    assert gamearchive("restore", "--status", "completed", "--output", "all.ndjson", "--force").code == 0
    return Path("all.ndjson").read_bytes().splitlines()


def test_games_cost_few_requests(gamearchive: Run, bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "botocore.endpoint")

    def asked() -> list[str]:
        names = re.findall(r"Making request for OperationModel\(name=(\w+)\)", caplog.text)
        caplog.clear()
        return names

    payloads = fill(gamearchive, COUNT, 1)
    changing = [name for name in asked() if not name.startswith(("Get", "Head", "List"))]
    assert changing == ["PutObject"] * 4  # the archive's mark, the dictionary twice, and the pack
    for number in (7, 200):
        assert gamearchive("restore", f"g-{number}").out.encode() == payloads[number]
        ranges = re.findall(r"'Range': 'bytes=(\d+)-(\d+)'", caplog.text)
        assert max(int(last) - int(first) for first, last in ranges) < 64_000
        assert asked() == ["GetObject", "GetObject"]  # the game, and its dictionary


def test_damage_in_a_bucket_is_found_and_told(gamearchive: Run, rclone: Rclone, bucket: str) -> None:
    fill(gamearchive)
    folder = rclone.folder / bucket / "the" / "packs"
    lost, altered, _ = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.zst"))
    rclone.client.delete_object(Bucket=bucket, Key=f"the/packs/{lost}")
    data = bytearray((folder / altered).read_bytes())
    data[100] ^= 1
    rclone.client.put_object(Bucket=bucket, Key=f"the/packs/{altered}", Body=bytes(data))
    found = gamearchive("verify", "--full", "--json")
    assert found.code == 3
    assert {item["object"] for item in items(found)} == {lost, altered}
    assert summary(found)["missing"] == COUNT // 3


def test_a_pack_that_is_locked_is_told_and_stays(gamearchive: Run, moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = settle(moto, moto.new_bucket(ObjectLockEnabledForBucket=True), monkeypatch)
    fill(gamearchive, 20, 1)
    names = [each["Key"] for each in moto.client.list_objects_v2(Bucket=bucket)["Contents"]]
    [pack] = [name for name in names if name.endswith(".zst")]
    until = datetime(2099, 1, 2, tzinfo=UTC)
    # As a killed process leaves it: the same games, in a pack of another moment that nobody has named.
    other = Path("other").absolute()
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", other.as_uri())
    monkeypatch.setenv("GAMEARCHIVE_HOME", "other-home")
    assert gamearchive("archive", "games.ndjson").code == 0
    settle(moto, bucket, monkeypatch)
    [stray] = other.rglob("*.zst")
    name = f"the/packs/{stray.relative_to(other).as_posix()}"
    assert name != pack
    moto.client.put_object(Bucket=bucket, Key=name, Body=stray.read_bytes())
    moto.client.put_object_retention(Bucket=bucket, Key=name, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    ended = gamearchive("verify", "--repair", "--json")
    [item], sums = items(ended), summary(ended)
    assert (ended.code, sums["orphaned"], sums["repaired"]) == (0, 1, 0)
    assert "retained until 2099-01-02T00:00:00Z" in str(item["reason"])
    assert moto.peek(bucket, name) == stray.read_bytes()


def test_games_in_an_archived_storage_class_say_when_they_can_be_read(
    gamearchive: Run, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = settle(moto, moto.new_bucket(), monkeypatch)
    fill(gamearchive, 20, 1)
    [pack] = [each["Key"] for each in moto.client.list_objects_v2(Bucket=bucket)["Contents"] if each["Key"].endswith(".zst")]
    moto.client.put_object(Bucket=bucket, Key=pack, Body=moto.peek(bucket, pack), StorageClass="GLACIER")
    frozen = gamearchive("restore", "g-1", "--json")
    error = json.loads(frozen.err)
    assert (frozen.code, error["code"]) == (15, "thawing")
    assert "3 to 5 hours" in error["message"]
    assert error["message"].startswith(pack.removeprefix("the/packs/"))
    assert gamearchive("verify").code == 0
    assert gamearchive("restore", "g-1", "--wait").code == 2


@pytest.fixture
def thawing(moto: Moto) -> Iterator[Callable[[int], None]]:
    """Says how often what is being brought back is looked at before it is there."""

    def transition(verb: str, body: dict[str, object]) -> None:
        data = json.dumps({"model_name": "s3::keyrestore", **body}).encode()
        urlopen(Request(f"{moto.endpoint_url}/moto-api/state-manager/{verb}-transition", data, method="POST")).close()

    yield lambda times: transition("set", {"transition": {"progression": "manual", "times": times}})
    transition("unset", {})


def test_just_what_games_need_is_brought_back(
    gamearchive: Run, moto: Moto, monkeypatch: pytest.MonkeyPatch, thawing: Callable[[int], None]
) -> None:
    bucket = settle(moto, moto.new_bucket(), monkeypatch)
    payloads = fill(gamearchive)

    def keys() -> list[str]:
        return [each["Key"] for each in moto.client.list_objects_v2(Bucket=bucket)["Contents"]]

    def asked_for() -> set[str]:
        return {key for key in keys() if "Restore" in moto.client.head_object(Bucket=bucket, Key=key)}

    for key in keys():
        if key.endswith((".zst", ".zdict")):
            moto.client.put_object(Bucket=bucket, Key=key, Body=moto.peek(bucket, key), StorageClass="GLACIER")
    thawing(8)
    ended = gamearchive("restore", "g-299", "--thaw", "--json")
    error = json.loads(ended.err)
    assert (ended.code, error["code"]) == (15, "thawing")
    assert error["message"] == "2 of 2 objects that these games need can be read in 3 to 5 hours."
    needed = asked_for()
    assert sorted(Path(key).suffix for key in needed) == [".zdict", ".zst"]
    assert json.loads(gamearchive("show", "g-299", "--json").out)["location"].partition("#")[0] in " ".join(needed)

    ended = gamearchive("restore", "g-299", "--thaw", "--wait", "--thaw-days", "2")
    assert (ended.code, ended.out.encode()) == (0, payloads[299])
    assert ended.err.startswith("warning: ")
    assert asked_for() == needed
    assert gamearchive("restore", "g-299", "--thaw").out.encode() == payloads[299]
    assert gamearchive("restore", "g-1", "--thaw").code == 15
    assert len(asked_for()) == 3


def test_nothing_is_brought_back_that_can_be_read_at_once(gamearchive: Run, bucket: str) -> None:
    payloads = fill(gamearchive, 20, 1)
    assert gamearchive("restore", "g-1", "--thaw", "--wait").out.encode() == payloads[1]


@pytest.mark.parametrize("secret", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_no_credential_is_ever_shown(gamearchive: Run, bucket: str, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    said = [gamearchive("config", "show", "--json"), gamearchive("archive", "games.ndjson", "-vv")]
    fill(gamearchive, 20, 1)
    said += [gamearchive("restore", "g-1", "-vv"), gamearchive("config", "check")]
    monkeypatch.setenv(secret, "planted" * 5)
    said += [gamearchive(*command, "-vv") for command in (("restore", "g-1"), ("verify",), ("archive", "games.ndjson"))]
    assert [ended.code for ended in said[-3:]] == [15, 15, 15]
    shown = "".join(ended.out + ended.err for ended in said)
    assert [text for text in ("planted", SECRET, KEY_ID) if text in shown] == []


def test_a_missing_bucket_and_no_bucket_at_all(gamearchive: Run, rclone: Rclone, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(rclone, "nonesuch", monkeypatch)
    Path("games.ndjson").write_bytes(games(1)[0].payload)
    ended = gamearchive("archive", "games.ndjson", "--json")
    assert (ended.code, json.loads(ended.err)["hint"]) == (15, "Make the bucket, or name the right one with --storage.")
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", "s3://bucket?reggion=x")
    assert gamearchive("config", "check").code == 16


@pytest.fixture
def own_rclone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rclone]:
    """A server that dies in its tests."""
    for name, value in boto3_environment(AWS_MAX_ATTEMPTS="1").items():
        monkeypatch.setenv(name, value)
    server = conftest.start("S3", Rclone)
    yield server
    server.stop()


def test_a_server_that_dies_while_games_are_archived(
    gamearchive: Run, own_rclone: Rclone, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(own_rclone, own_rclone.new_bucket(), monkeypatch)
    fill(gamearchive, 30, 1)
    more = games(600, first=30)
    Path("more.ndjson").write_bytes(b"\n".join(record.payload for record in more))
    tool = subprocess.Popen(
        [sys.executable, "-m", "gamearchive", "archive", "more.ndjson"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    packs = len(list(own_rclone.folder.rglob("*.zst")))
    while len(list(own_rclone.folder.rglob("*.zst*"))) == packs:
        assert tool.poll() is None
        time.sleep(0.002)
    own_rclone.kill()
    _, said = tool.communicate(timeout=100)
    own_rclone.start()
    assert tool.returncode in (0, 15), said
    assert gamearchive("archive", "more.ndjson").code == 0
    assert gamearchive("verify", "--full", "--repair").code in (0, 3)
    assert gamearchive("verify", "--full").code == 0
    assert gamearchive("query", "--count").out == "630\n"


def test_a_process_of_its_own_reads_what_this_one_archived(gamearchive: Run, bucket: str) -> None:
    payloads = fill(gamearchive, 20, 1)
    assert process("restore", "g-3").stdout == payloads[3]
