"""Settings: the layers, where a value comes from, what is refused, and what is masked."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from gamearchive.errors import ConfigurationError
from gamearchive.retention import rules_from
from gamearchive.schedule import parse_schedule
from gamearchive.settings import FACTS, KEYS, WorkerSettings, completing, load_settings, mask, variable


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("GAMEARCHIVE_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_with_nothing_set_everything_lives_in_the_users_data_folder(folder: Path) -> None:
    settings = load_settings()
    assert settings.home == folder / "user/.local/share/gamearchive"
    assert settings.database == f"sqlite:///{settings.home}/gamearchive.db"
    assert settings.storage == f"file://{settings.home}/packs"
    assert (settings.max_record, settings.compression_level) == (64 << 20, 3)
    assert set(settings.sources.values()) == {"default"}
    assert set(settings.sources) == set(settings.shown())
    assert {key for key in settings.sources if not key.startswith("worker.")} == set(KEYS)
    assert (settings.worker, settings.schedules) == (WorkerSettings(), {})


def test_the_data_folder_is_xdgs_unless_that_is_relative(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    assert load_settings().home == folder / "data/gamearchive"
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert load_settings().home == folder / "user/.local/share/gamearchive"


def test_each_layer_goes_over_the_one_below_and_says_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    file = write(folder / "gamearchive.toml", "compression_level = 5")
    settings = load_settings()
    assert (settings.compression_level, settings.sources["compression_level"]) == (5, f"file {file}")
    monkeypatch.setenv("GAMEARCHIVE_COMPRESSION_LEVEL", "7")
    settings = load_settings()
    assert settings.compression_level == 7
    assert settings.sources["compression_level"] == "environment GAMEARCHIVE_COMPRESSION_LEVEL"
    settings = load_settings({"compression_level": "9", "home": None})
    assert (settings.compression_level, settings.sources["compression_level"]) == (9, "flag --compression-level")
    assert settings.sources["home"] == "default"


def test_a_value_equal_to_the_default_is_still_a_value_that_was_set() -> None:
    assert load_settings({"compression_level": "3"}).sources["compression_level"] == "flag --compression-level"


def test_a_home_moves_the_database_and_the_storage_that_follow_it() -> None:
    settings = load_settings({"home": "/srv/games"})
    assert settings.database == "sqlite:////srv/games/gamearchive.db"
    assert settings.storage == "file:///srv/games/packs"
    settings = load_settings({"home": "/srv/games", "database": "postgresql+psycopg://u@host/games"})
    assert settings.database == "postgresql+psycopg://u@host/games"
    assert settings.sources["storage"] == "default"


def test_a_home_with_what_means_something_in_urls_keeps_its_place() -> None:
    settings = load_settings({"home": "/srv/50% of? #games"})
    assert settings.database == "sqlite:////srv/50%25 of%3F #games/gamearchive.db"
    assert settings.storage == "file:///srv/50%25%20of%3F%20%23games/packs"


def test_a_relative_home_is_relative_to_the_file_or_to_where_the_command_runs(folder: Path) -> None:
    file = write(folder / "etc/games.toml", 'home = "here"')
    assert load_settings(config=str(file)).home == folder / "etc/here"
    assert load_settings({"home": "there"}).home == folder / "there"
    assert load_settings({"home": "~/there"}).home == folder / "user/there"


def test_the_first_settings_file_that_exists_is_read(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fallback = write(folder / "user/.config/gamearchive/gamearchive.toml", "compression_level = 11")
    assert load_settings().file == fallback
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "conf"))
    of_xdg = write(folder / "conf/gamearchive/gamearchive.toml", "compression_level = 12")
    assert load_settings().file == of_xdg
    here = write(folder / "gamearchive.toml", "compression_level = 13")
    assert load_settings().file == here
    named = write(folder / "named.toml", "compression_level = 14")
    monkeypatch.setenv("GAMEARCHIVE_CONFIG", str(named))
    assert load_settings().file == named
    by_flag = write(folder / "flag.toml", "compression_level = 15")
    assert load_settings(config=str(by_flag)).compression_level == 15


def test_a_settings_file_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no settings file 'gone\.toml'"):
        load_settings(config="gone.toml")
    monkeypatch.setenv("GAMEARCHIVE_CONFIG", str(folder))
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_settings()


def test_an_empty_variable_is_unset_and_an_empty_flag_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMEARCHIVE_HOME", "")
    assert variable("home") is None
    assert load_settings().sources["home"] == "default"
    with pytest.raises(ConfigurationError, match=r"`home` \(flag --home\) is ''"):
        load_settings({"home": ""})


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('stroage = "file:///x"', "`stroage`", "`storage`"),
        ('Home = "/x"', "`Home`", "`home`"),
        ("[types.game.fact]\nid = '/id'", "`types.game.fact`", "`types.game.facts`"),
        ("[types.game.facts]\nplayer = '/p'", "`types.game.facts.player`", "`types.game.facts.players`"),
        ("[policy.game]\nbatch_size = 1", "`policy`", "`policies`"),
        ("[policies.game]\nbatchsize = 1", "`policies.game.batchsize`", "`policies.game.batch_size`"),
    ],
)
def test_an_unknown_key_is_named_with_its_file_and_the_nearest(folder: Path, text: str, key: str, nearest: str) -> None:
    file = write(folder / "gamearchive.toml", text)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert f"{key} in {file} is not a setting; the nearest is {nearest}." in raised.value.message
    assert nearest.strip("`") in raised.value.hint
    assert raised.value.exit_code == 16


@pytest.mark.parametrize("table", ["[[retentions]]\nname = 'x'", "[composites]\nwrite_quorum = 1"])
def test_a_table_that_nothing_reads_is_not_passed_over(folder: Path, table: str) -> None:
    write(folder / "gamearchive.toml", table)
    with pytest.raises(ConfigurationError, match="is not a setting"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("home = 3", "home"),
        ("database = true", "database"),
        ('database = "mysql://host/games"', "database"),
        ('storage = "/srv/packs"', "storage"),
        ("storage = 'C:\\packs'", "storage"),
        ('max_record = "lots"', "max_record"),
        ("max_record = 0", "max_record"),
        ("max_record = true", "max_record"),
        ("compression_level = 0", "compression_level"),
        ("compression_level = 23", "compression_level"),
        ("compression_level = 3.0", "compression_level"),
        ("compression_level = true", "compression_level"),
        ("types = 3", "types"),
        ("types.game = 3", "types.game"),
        ("types.game.facts = []", "types.game.facts"),
        ("types.game.facts.id = 3", "types.game.facts.id"),
        ("types.game.facts.id = 'meta/id'", "types.game.facts.id"),
        ("types.game.facts.id = '/meta~2'", "types.game.facts.id"),
        ("policies = 3", "policies"),
        ("policies.game = 3", "policies.game"),
        ("policies.game.name = 3", "policies.game.name"),
        ("policies.game.triggers = 'manual'", "policies.game.triggers"),
        ("policies.game.triggers = ['MANUAL']", "policies.game.triggers"),
        ("policies.game.triggers = [['manual']]", "policies.game.triggers"),
        ("policies.game.archive_after = 3600", "policies.game.archive_after"),
        ("policies.game.archive_after = '-1h'", "policies.game.archive_after"),
        ("policies.game.archive_after = ''", "policies.game.archive_after"),
        ("policies.game.compress_after = 12:00:00", "policies.game.compress_after"),
        ("policies.game.retention_period = '9999999999y'", "policies.game.retention_period"),
        ("policies.game.check_interval = '1 hour'", "policies.game.check_interval"),
        ("policies.game.archive_timeout = true", "policies.game.archive_timeout"),
        ("policies.game.batch_size = '10'", "policies.game.batch_size"),
        ("policies.game.batch_size = true", "policies.game.batch_size"),
        ("policies.game.max_concurrent_archives = 1.5", "policies.game.max_concurrent_archives"),
        ("policies.game.max_entities_in_memory = 1e3", "policies.game.max_entities_in_memory"),
        ("policies.game.memory_threshold_percent = '80%'", "policies.game.memory_threshold_percent"),
        ("policies.game.condition = true", "policies.game.condition"),
        ("policies.game.priority = 2", "policies.game.priority"),
        ("policies.game.priority = 'urgent'", "policies.game.priority"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_key_and_file(folder: Path, text: str, key: str) -> None:
    file = write(folder / "gamearchive.toml", text)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert raised.value.message.startswith(f"The setting `{key}` (file {file}) is ")


@pytest.mark.parametrize("table", ["[types.Game.facts]\nid = '/id'", "[policies.Game]\nbatch_size = 1"])
def test_a_type_that_no_game_can_have_is_refused(folder: Path, table: str) -> None:
    write(folder / "gamearchive.toml", table)
    with pytest.raises(ConfigurationError, match="'Game' is not a plain name"):
        load_settings()


def test_what_is_no_toml_is_named_with_its_line(folder: Path) -> None:
    write(folder / "gamearchive.toml", 'home = "/x"\ndatabase = \n')
    with pytest.raises(ConfigurationError, match=r"gamearchive\.toml is not TOML: .*line 2"):
        load_settings()
    (folder / "gamearchive.toml").write_bytes(b'home = "\xff"')
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_settings()


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    (folder / "gamearchive.toml").write_bytes(b"\xef\xbb\xbfcompression_level = 4")
    assert load_settings().compression_level == 4


def test_the_pointers_of_a_type_are_kept_by_fact(folder: Path) -> None:
    file = write(folder / "gamearchive.toml", "[types.chess.facts]\nid = '/meta/id'\nplayers = '/players/*/name'")
    settings = load_settings()
    assert settings.facts_of("chess") == {"id": "/meta/id", "players": "/players/*/name"}
    assert settings.facts_of("go") == {}
    assert settings.shown()["types.chess.facts.players"] == "/players/*/name"
    assert settings.sources["types.chess.facts.players"] == f"file {file}"
    assert set(settings.facts_of("chess")) < set(FACTS)


def test_what_is_said_of_a_policy_is_kept_as_it_is_said(folder: Path) -> None:
    file = write(
        folder / "gamearchive.toml",
        """
        [policies.game]
        triggers = ["game_completed", "manual"]
        archive_after = "0s"
        batch_size = 10
        [policies.room]
        memory_threshold_percent = 75.5
        priority = "low"
        """,
    )
    settings = load_settings()
    assert settings.policies == {
        "game": {"triggers": ("game_completed", "manual"), "archive_after": "0s", "batch_size": 10},
        "room": {"memory_threshold_percent": 75.5, "priority": "low"},
    }
    assert settings.shown()["policies.game.archive_after"] == "0s"
    assert settings.sources["policies.room.priority"] == f"file {file}"
    assert set(settings.sources) == set(settings.shown())


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://user:pass@host/games", "postgresql://user:***@host/games"),
        ("postgresql://user:p@ss:w@host/games", "postgresql://user:***@host/games"),
        ("postgresql://user:p/a?s#s@host/games", "postgresql://user:***@host/games"),
        ("postgresql://:pass@host/games", "postgresql://:***@host/games"),
        ("postgresql://user@host/games", "postgresql://user@host/games"),
        ("postgresql://host:5432/games", "postgresql://host:5432/games"),
        ("s3://bucket/p?region=eu&secret_access_key=abc", "s3://bucket/p?region=eu&secret_access_key=***"),
        ("s3://bucket/p?X-Token=abc&region=eu#x", "s3://bucket/p?X-Token=***&region=eu#x"),
        ("postgresql://host/games?password=abc", "postgresql://host/games?password=***"),
        ("sqlite:////srv/games/gamearchive.db", "sqlite:////srv/games/gamearchive.db"),
        ("file:///srv/user:x@home/packs", "file:///srv/user:x@home/packs"),
    ],
)
def test_secrets_of_urls_are_masked(url: str, masked: str) -> None:
    assert mask(url) == masked


def test_no_error_and_no_listing_shows_a_secret() -> None:
    settings = load_settings({"database": "postgresql://user:hunter2@host/games"})
    assert settings.database == "postgresql://user:hunter2@host/games"
    assert settings.shown()["database"] == "postgresql://user:***@host/games"
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"database": "mysql://user:hunter2@host/games"})
    assert "hunter2" not in raised.value.message


def test_a_shell_that_completes_is_told_from_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not completing("gamearchive")
    monkeypatch.setenv("_GAMEARCHIVE_COMPLETE", "complete_bash")
    assert completing("gamearchive")


def test_the_daemons_settings_are_read_each_as_what_it_is(folder: Path) -> None:
    file = write(
        folder / "gamearchive.toml",
        "[worker]\nconcurrency = 4\nbatch_size = 100\nmax_retries = 0\nretry_delay = '1m30s'\nmax_queue_size = 5000\n"
        "grace = '0s'\nkeep_done = '7d'\n[schedule]\nverify = 'every 6h budget 60s'",
    )
    settings = load_settings()
    assert settings.worker == WorkerSettings(4, 100, 0, 90.0, 5000, 0.0, 7 * 86_400.0)
    assert settings.schedules == {"verify": parse_schedule("every 6h budget 60s")}
    shown = {key: value for key, value in settings.shown().items() if key.startswith(("worker.", "schedule."))}
    assert shown["worker.retry_delay"] == "90s"
    assert shown["worker.batch_size"] == 100
    assert shown["schedule.verify"] == "every 21600s budget 60s"
    assert {settings.sources[key] for key in shown} == {f"file {file}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[worker]\nconcurrency = 0", "`worker.concurrency` .* is 0, which is not a whole number from 1 to 64"),
        ("[worker]\nbatch_size = true", "`worker.batch_size` .* is True, which is not a whole number"),
        ("[worker]\nmax_retries = -1", "`worker.max_retries` .* is -1"),
        ("[worker]\nretry_delay = 30", "`worker.retry_delay` .* is 30, which is not a duration"),
        ("[worker]\nmax_retrys = 3", "`worker.max_retrys` .* the nearest is `worker.max_retries`"),
        ("worker = 3", "`worker` .* is 3, which is not a table"),
        ("[schedule]\nverify = 'hourly'", "`schedule.verify` .* is 'hourly', which is not a schedule such as"),
        ("[schedule]\nverify = 6", "`schedule.verify` .* is 6, which is not a schedule"),
        ("[schedule]\nverfy = 'every 6h'", "the nearest is `schedule.verify`"),
    ],
)
def test_a_daemons_setting_that_cannot_be_is_refused(folder: Path, text: str, message: str) -> None:
    write(folder / "gamearchive.toml", text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings()


def test_rules_of_retention_are_read_in_their_order(folder: Path) -> None:
    write(folder / "gamearchive.toml", """
        undelete_period = "0s"
        max_share = "5%"
        [[retention]]
        name = "ranked"
        where = "tags.ranked = 'yes'"
        keep = "forever"
        [[retention]]
        name = "old"
        entity_type = "game"
        keep_for = "90d"
        from = "completed"
        keep_last = 20
        per = "player"
        keep_sample = "1%"
    """)  # fmt: skip
    settings = load_settings()
    assert (settings.undelete_period, settings.max_share) == (0.0, 0.05)
    ranked, old = rules_from(settings.retention, {})
    assert (ranked.name, ranked.where, ranked.forever) == ("ranked", "tags.ranked = 'yes'", True)
    assert (old.entity_type, old.keep_for, old.since.value) == ("game", timedelta(days=90), "completed")
    assert (old.keep_last, old.per.value, old.keep_sample) == (20, "player", 0.01)
    assert settings.shown()["retention.old.keep_last"] == 20
    assert set(settings.shown()) <= set(settings.sources)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("keep_for = '90d'", "has no name"),
        ("name = 'x'\nfrom = 'read'", "a write for each read"),
        ("name = 'x'\nkeep = 'always'", "not one of forever"),
        ("name = 'x'\nkeep_for = 90", "not a duration"),
        ("name = 'x'\nkeep_last = 0", "a whole number from 1"),
        ("name = 'x'\nper = 'game'", "one of all, player, room"),
        ("name = 'x'\nkeep_sample = '0%'", "a share"),
        ("name = 'x'\nkeep_sample = 0.5", "a share"),
        ("name = 'x'\nkeepfor = '90d'", "the nearest is `retention.keep_for`"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_by_name(folder: Path, rule: str, said: str) -> None:
    write(folder / "gamearchive.toml", f"[[retention]]\n{rule}")
    with pytest.raises(ConfigurationError, match=said):
        load_settings()


def test_retention_is_a_list(folder: Path) -> None:
    write(folder / "gamearchive.toml", "[retention]\nname = 'x'")
    with pytest.raises(ConfigurationError, match="a list of rules"):
        load_settings()
