"""The commands on an encrypted archive: each does what it does elsewhere, and none does it without the key."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from archiving import flip, games
from playing import archived, over, repository, revisions
from running import Ended, Run, process

from gamearchive.keyring import Key

COUNT = 300
SECRETS = {name: bytes([number]) * 32 for number, name in enumerate(("old", "new", "other"), 1)}


def write_keys(*names: str) -> Path:
    """A key file, and the settings that name it."""
    path = Path("ring.key")
    path.touch(mode=0o600)
    path.write_text("".join(f"{base64.b64encode(SECRETS[name]).decode() if name in SECRETS else name}\n" for name in names))
    Path("gamearchive.toml").write_text('home = "home"\nencryption_key_file = "ring.key"\n')
    return path


def without_keys() -> None:
    Path("gamearchive.toml").write_text('home = "home"\n')


def archive(gamearchive: Run, first: int, count: int) -> Ended:
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(count, first)))
    return gamearchive("archive", "games.ndjson", "--json")


def restored(gamearchive: Run) -> list[bytes]:
    ended = gamearchive("restore", "--status", "completed", "--output", "all.ndjson", "--force")
    assert ended.code == 0, ended.err
    return sorted(Path("all.ndjson").read_bytes().splitlines())


def payloads(count: int) -> list[bytes]:
    return sorted(record.payload for record in games(count))


def objects() -> list[Path]:
    return sorted(path for path in Path("home/packs").rglob("*") if path.is_file() and ".tmp" not in path.parts)


def error(ended: Ended) -> tuple[int, str]:
    return ended.code, json.loads(ended.err.splitlines()[-1])["code"]


def test_every_command_on_an_encrypted_archive(gamearchive: Run) -> None:
    write_keys("old")
    for run in range(3):
        assert archive(gamearchive, run * 100, 100).code == 0
    assert len(objects()) == 6  # three packs, a dictionary twice, and the mark
    assert {path.read_bytes()[:12] for path in objects()} == {b"GAe1" + Key(SECRETS["old"]).id}
    assert restored(gamearchive) == payloads(COUNT)
    assert gamearchive("restore", "g-7", "--output", "one.json").code == 0
    assert Path("one.json").read_bytes() == games(1, 7)[0].payload
    assert json.loads(gamearchive("verify", "--full", "--json").out.splitlines()[-1])["damaged"] == 0
    assert gamearchive("rebuild", "--yes").code == 0
    assert gamearchive("query", "--count").out == f"{COUNT}\n"
    assert gamearchive("show", "g-7").code == gamearchive("stats").code == gamearchive("config", "check").code == 0
    flip(next(path for path in objects() if path.suffix == ".zst"), 500)
    ended = gamearchive("verify", "--full", "--json")
    assert (ended.code, json.loads(ended.out.splitlines()[-1])["damaged"] > 0) == (3, True)


@pytest.mark.parametrize("keys", [(), ("other",), ("unencrypted",), ("other", "unencrypted")])
def test_without_the_key_nothing_is_read_written_or_taken_for_damaged(gamearchive: Run, keys: tuple[str, ...]) -> None:
    write_keys("old")
    for run in range(2):
        assert archive(gamearchive, run * 100, 100).code == 0
    before = {path: path.read_bytes() for path in objects()}
    write_keys(*keys) if keys else without_keys()
    for command in (
        ["restore", "g-7"],
        ["restore", "--player", "Ada", "--output", "folder/"],
        ["verify"],
        ["verify", "--full"],
        ["verify", "--repair"],
        ["rebuild", "--yes"],
        ["rebuild", "--yes", "--force"],
        ["archive", "games.ndjson"],
    ):
        ended = gamearchive(*command, "--json")
        told = ended.err or ended.out  # among many games each failure is told by itself
        assert (ended.code, "missing-key" in told, Key(SECRETS["old"]).id.hex() in told) == (16, True, True), (command, ended)
    assert {path: path.read_bytes() for path in objects()} == before
    write_keys("old")
    assert gamearchive("verify", "--full").code == 0
    assert restored(gamearchive) == payloads(200)


def test_encryption_can_be_begun_later(gamearchive: Run) -> None:
    without_keys()
    archive(gamearchive, 0, 100)
    write_keys("old")
    assert error(archive(gamearchive, 100, 100)) == (14, "integrity")  # not encrypted, and nothing says that this is right
    write_keys("old", "unencrypted")
    assert archive(gamearchive, 100, 100).code == 0
    assert restored(gamearchive) == payloads(200)
    assert gamearchive("verify", "--full").code == 0
    assert gamearchive("rebuild", "--yes").code == 0
    assert sum(path.read_bytes().startswith(b"GAe1") for path in objects() if path.suffix == ".zst") == 1


def test_keys_can_follow_on_each_other(gamearchive: Run) -> None:
    write_keys("old")
    archive(gamearchive, 0, 100)
    write_keys("new", "old")
    archive(gamearchive, 100, 100)
    assert {path.read_bytes()[4:12] for path in objects()} == {Key(SECRETS[name]).id for name in ("old", "new")}
    assert restored(gamearchive) == payloads(200)
    assert gamearchive("verify", "--full").code == 0


def test_no_key_is_ever_shown_and_the_key_file_is_nobodys_game(gamearchive: Run) -> None:
    file = write_keys("old")
    secret = file.read_text().strip()
    said = [archive(gamearchive, 0, 10), gamearchive("config", "show"), gamearchive("config", "show", "--json")]
    assert json.loads(said[-1].out)["settings"]["encryption_key_file"]["value"] == str(file.absolute())
    write_keys("other")
    said += [gamearchive(*command, "-vv") for command in (["restore", "g-1"], ["verify", "--full"], ["archive", "."])]
    write_keys("old", secret[:-3])
    said += [gamearchive("verify"), gamearchive("config", "check")]
    assert [each.code for each in said[-2:]] == [16, 16]
    write_keys("old")
    said += [gamearchive("archive", ".", "-v"), gamearchive("restore", "g-1", "--output", "ring.key", "--force")]
    assert said[-1].code == 2
    assert secret in file.read_text()
    assert "ring.key: it is this program's own" in said[-2].err
    broken = process("verify", "--full")
    said.append(Ended(broken.returncode, broken.stdout.decode(), broken.stderr.decode()))
    for form in (secret[:20], SECRETS["old"].hex()[:20], repr(SECRETS["old"])[2:30]):
        assert form not in "".join(each.out + each.err for each in said)


@pytest.mark.parametrize("archiver", ["process", "thread"])
def test_what_a_game_server_archives_is_encrypted(archiver: str, gamearchive: Run) -> None:
    write_keys("old")

    async def test() -> None:
        async with repository(Path().absolute(), archiver=archiver) as repo:
            await repo.save(over("g-1"))
        assert revisions(await archived(Path().absolute())) == {"g-1": 1}

    asyncio.run(test())
    assert {path.read_bytes()[:12] for path in objects()} == {b"GAe1" + Key(SECRETS["old"]).id}
    assert gamearchive("restore", "g-1", "--json").code == 0
