"""Every command on a backend that a package of somebody else's brings, found by its URL's scheme alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archiving import games
from databases import Databases
from running import Run, process

CUPBOARD = """
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit
from gamearchive.errors import NotFoundError


class Cupboard:
    '''Two methods, and nothing of gamearchive but an error.'''

    def __init__(self, url):
        self.folder = Path(urlsplit(url).path)
        self.folder.mkdir(exist_ok=True)
        self.types = {}

    async def archive(self, entity_id, entity_type, data):
        name = sha256(f"{entity_type} {entity_id}".encode() + data).hexdigest()
        (self.folder / name).write_bytes(data)
        self.types[name] = entity_type
        return f"drawer {name}"

    async def retrieve(self, location):
        if not re.fullmatch("drawer [0-9a-f]{64}", location) or not self.path(location).is_file():
            raise NotFoundError(f"There is no {location!r}.")
        return self.path(location).read_bytes()

    def path(self, location):
        return self.folder / location.removeprefix("drawer ")

    async def close(self):
        (self.folder / "closed").touch()


class Wardrobe(Cupboard):
    '''All four, and batches.'''

    async def delete(self, location):
        try:
            self.path(location).unlink()
        except FileNotFoundError:
            return False
        return True

    async def list_archives(self, entity_type=None, start_date=None, end_date=None):
        wanted = (path for path in self.folder.iterdir() if entity_type in (None, self.types.get(path.name)))
        return [f"drawer {path.name}" for path in wanted]

    async def archive_many(self, games):
        return [await self.archive(*game) for game in games]


class Mixing(Wardrobe):
    async def archive(self, entity_id, entity_type, data):
        name = sha256(f"{entity_type} {entity_id.lower()}".encode()).hexdigest()
        (self.folder / name).write_bytes(data)
        return f"drawer {name}"

    async def retrieve(self, location):
        return b"" if not location else await super().retrieve(location)


class Locked(Cupboard):
    async def archive(self, entity_id, entity_type, data):
        raise PermissionError("the key is lost")


def crash(url):
    raise ValueError(f"{url} is none of mine")
"""


@pytest.fixture(params=["cupboard", "wardrobe"])
def furniture(request: pytest.FixtureRequest, package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a backend that the settings name."""
    folder = tmp_path / "furniture"
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", f"{request.param}://user:planted@host{folder}")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings backends, installed for this process and those that it starts."""
    site = tmp_path / "site"
    metadata = site / "furniture-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "furniture.py").write_text(CUPBOARD)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: furniture\nVersion: 1.0\n")
    names = ["Cupboard", "Wardrobe", "Locked", "Mixing", "crash", "Gone"]
    points = "".join(f"{name.lower()} = furniture:{name}\n" for name in names)
    (metadata / "entry_points.txt").write_text(f"[gamearchive.backends]\n{points}list = builtins:list\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("GAMEARCHIVE_HOME", "home")


def test_every_command_on_a_strangers_backend(
    gamearchive: Run, furniture: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMEARCHIVE_DATABASE", databases.of("home"))
    payloads = [record.payload for record in games(60)]
    Path("games.ndjson").write_bytes(b"\n".join(payloads[:40]))
    Path("more.ndjson").write_bytes(b"\n".join(payloads[40:]))
    assert gamearchive("config", "check").code == 0
    assert "planted" not in gamearchive("config", "show").out
    assert gamearchive("archive", "games.ndjson", "--dry-run").code == 0
    assert gamearchive("archive", "games.ndjson").err.startswith("Archived 40 games")
    assert "40 there already" in gamearchive("archive", "games.ndjson").err
    assert gamearchive("archive", "more.ndjson", "--queue").code == 0
    assert len(gamearchive("queue", "list", "--json").out.splitlines()) == 21
    assert gamearchive("worker", "run", "--burst", "--name", "w").code == 0
    assert gamearchive("query", "--count").out == "60\n"
    assert json.loads(gamearchive("show", "g-7", "--json").out)["location"].startswith("drawer ")
    assert gamearchive("restore", "g-7").out.encode() == payloads[7]
    assert gamearchive("restore", "g-50", "--thaw").out.encode() == payloads[50]
    assert process("restore", "g-51").stdout == payloads[51]
    assert gamearchive("restore", "--status", "completed", "--output", "all.ndjson").code == 0
    assert sorted(Path("all.ndjson").read_bytes().splitlines()) == sorted(payloads)
    assert json.loads(gamearchive("stats", "--json").out)["games"] == 60
    assert (furniture / "closed").exists()
    (furniture / "closed").unlink()

    [lost] = [path for path in furniture.iterdir() if path.read_bytes() == payloads[3]]
    lost.write_bytes(b"something else")
    for command in (("verify", "--full"), ("verify", "--full", "--repair")):
        ended = gamearchive(*command, "--json")
        assert ended.code == 3
        [item] = [each for each in map(json.loads, ended.out.splitlines()) if each["type"] == "item"]
        assert (item["entity_id"], item["finding"]) == ("g-3", "damaged")
    assert gamearchive("restore", "g-3").code == 14
    assert gamearchive("archive", "games.ndjson").err.startswith("Archived 1 game")
    assert gamearchive("restore", "g-3").out.encode() == payloads[3]

    rebuilt = gamearchive("rebuild", "--yes")
    assert (rebuilt.code, rebuilt.err.splitlines()[0]) == (1, "error: unsupported")
    assert gamearchive("query", "--count").out == "60\n"


def test_a_strangers_backend_is_checked(gamearchive: Run, furniture: Path, request: pytest.FixtureRequest) -> None:
    ended = gamearchive("storage", "check", "--json")
    *items, summary = map(json.loads, ended.out.splitlines())
    assert (ended.code, summary["missing"]) == (0, 0)
    results = {item["check"]: item["result"] for item in items}
    assert list(results)[:9] == "retrieve ids types again concurrent absent delete list batches".split()  # noqa: SIM905
    assert [name for name in results if results[name] == "yes"][:6] == list(results)[:6]
    left = {path.name for path in furniture.iterdir()} - {"closed"}
    if "cupboard" in request.node.name:
        assert [results[name] for name in ("delete", "list", "batches", "left-behind")] == ["no", "no", "no", "noted"]
        assert f"{len(left)} small games: it has no delete" in items[-1]["told"]
    else:
        assert list(results.values()) == ["yes"] * 9
        assert left == set()


def test_a_broken_backend_is_told(gamearchive: Run, package: None, tmp_path: Path) -> None:
    ended = gamearchive("storage", "check", f"mixing://{tmp_path}/x", "--json")
    broken = {item["check"]: item["told"] for item in map(json.loads, ended.out.splitlines()) if item.get("result") == "no"}
    assert ended.code == 3
    assert {"ids", "absent"} <= set(broken)
    assert broken["absent"] == "for '', that is no location, bytes are given out"
    assert gamearchive("storage", "check", f"locked://{tmp_path}/x").code == 15


def test_what_goes_wrong_with_a_strangers_backend_is_told_and_no_secret_with_it(
    gamearchive: Run, package: None, tmp_path: Path
) -> None:
    Path("games.ndjson").write_bytes(games(1)[0].payload)
    for scheme, code, said in (
        ("locked", 15, "Locked failed: PermissionError: the key is lost"),
        ("crash", 16, "cannot be made: ValueError"),
        ("gone", 16, "cannot be loaded"),
        ("list", 16, "list is no backend"),
        ("closet", 16, "cupboard"),
    ):
        url = f"{scheme}://user:planted@host{tmp_path}/x"
        ended = gamearchive("archive", "games.ndjson", "--storage", url)
        assert (ended.code, "Traceback" in ended.err, "planted" in ended.out + ended.err) == (code, False, False)
        assert said in ended.err
