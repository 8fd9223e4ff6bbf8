"""``gamearchive config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Ended, Run


def test_show_gives_every_setting_with_its_source(gamearchive: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "gamearchive.toml"
    file.write_text("compression_level = 9\n[types.chess.facts]\nid = '/meta/id'\n")
    monkeypatch.setenv("GAMEARCHIVE_MAX_RECORD", "1KB")
    ended = gamearchive("config", "show", "--json", "--home", "/srv/games")
    assert (ended.code, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert said["settings"].pop("worker.grace") == {"value": "30s", "source": "default"}
    assert said == {
        "file": str(file),
        "settings": {
            "home": {"value": "/srv/games", "source": "flag --home"},
            "database": {"value": "sqlite:////srv/games/gamearchive.db", "source": "default"},
            "storage": {"value": "file:///srv/games/packs", "source": "default"},
            "max_record": {"value": 1024, "source": "environment GAMEARCHIVE_MAX_RECORD"},
            "compression_level": {"value": 9, "source": f"file {file}"},
            "encryption_key_file": {"value": None, "source": "default"},
            "undelete_period": {"value": "604800s", "source": "default"},
            "max_share": {"value": "20%", "source": "default"},
            "types.chess.facts.id": {"value": "/meta/id", "source": f"file {file}"},
            "worker.concurrency": {"value": 2, "source": "default"},
            "worker.batch_size": {"value": 1000, "source": "default"},
            "worker.max_retries": {"value": 3, "source": "default"},
            "worker.retry_delay": {"value": "30s", "source": "default"},
            "worker.max_queue_size": {"value": 1_000_000, "source": "default"},
            "worker.keep_done": {"value": "86400s", "source": "default"},
        },
    }


def test_show_gives_what_is_said_of_policies(gamearchive: Run, tmp_path: Path) -> None:
    file = tmp_path / "gamearchive.toml"
    file.write_text("[policies.game]\narchive_after = '30m'\ntriggers = ['time_based', 'manual']\n")
    said = json.loads(gamearchive("config", "show", "--json").out)["settings"]
    assert said["policies.game.archive_after"] == {"value": "30m", "source": f"file {file}"}
    assert said["policies.game.triggers"] == {"value": ["time_based", "manual"], "source": f"file {file}"}
    assert f"policies.game.triggers\ttime_based; manual\tfile {file}" in gamearchive("config", "show").out.splitlines()


def test_check_points_at_what_a_policy_cannot_mean(gamearchive: Run, tmp_path: Path) -> None:
    file = tmp_path / "gamearchive.toml"
    file.write_text("[policies.game]\ncondition = \"status = 'over' AND wimmer = 'Anna'\"\n")
    ended = gamearchive("config", "check")
    assert ended.code == 16
    lines = ended.err.splitlines()
    assert lines[0] == "error: configuration"
    assert lines[1].startswith("The policy 'game' cannot be. The condition makes no sense at column 21: `wimmer`")
    assert lines[2:4] == ["status = 'over' AND wimmer = 'Anna'", " " * 20 + "^"]
    file.write_text("[policies.game]\nbatch_size = 0\n")
    assert "batch_size is 0" in gamearchive("config", "check").err


def test_show_is_a_table_for_people(gamearchive: Run) -> None:
    lines = gamearchive("config", "show", "--home", "/srv/games").out.splitlines()
    assert lines[0].split("\t") == ["setting", "value", "from"]
    assert lines[1].split("\t") == ["home", "/srv/games", "flag --home"]


def test_show_masks_secrets(gamearchive: Run) -> None:
    for form in ([], ["--json"]):
        ended = gamearchive("config", "show", "--database", "postgresql://u:hunter2@host/games", *form)
        assert "hunter2" not in ended.out
        assert "postgresql://u:***@host/games" in ended.out


def test_check_says_that_all_is_well(gamearchive: Run, tmp_path: Path) -> None:
    assert gamearchive("config", "check") == Ended(0, "ok: no settings file; the defaults apply\n", "")
    file = tmp_path / "gamearchive.toml"
    file.write_text("compression_level = 9")
    assert json.loads(gamearchive("config", "check", "--json").out) == {"ok": True, "file": str(file)}
    assert not (tmp_path / "user").exists()


@pytest.mark.parametrize(
    "wrong",
    [("--storage", "nowhere://x"), ("--database", "mysql://host/x"), ("--database", "sqlite://"), ("--config", "none.toml")],
)
def test_check_says_what_is_wrong(gamearchive: Run, wrong: tuple[str, str]) -> None:
    ended = gamearchive("config", "check", *wrong)
    assert ended.code == 16
    assert ended.out == ""
    assert ended.err.startswith("error: configuration\n")
