"""Names of restored files: safe on every disk, one for each id, and the id itself where that does no harm."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gamearchive.names import safe_name, safe_path

AWKWARD = [
    "../../etc/passwd", "a/b", "a\\b", ".", "..", "", " ", "🎲" * 100, "tab\tand\nnewline", "CON", "con", "nul.txt", "Nul .txt",
    "lpt9", "COM¹", "conin$", "trailing.", "trailing ", "game-1", "Game-1", "GAME-1", "game_1", "x" * 300, "x" * 301, "é",
    "e\u0301", "ß", "ss", "-rf", "~", ".git", "a:b", "a*b?", "\ud800", "\ud801", "ナルト" * 60, "\x7f", "\u202egnp.exe",
    "c:\\windows", "İ", "i\u0307", "id~0123456789abcdef",
]  # fmt: skip
ids = st.text(max_size=40) | st.sampled_from(AWKWARD) | st.text("aA.-_/ \\:é", max_size=6) | st.text(min_size=200, max_size=400)
suffixes = st.sampled_from(["", ".json", ".pgn.zst"])


@given(ids, suffixes)
def test_a_safe_name_is_one_visible_segment_everywhere(entity_id: str, suffix: str):
    name = safe_name(entity_id, suffix)
    assert not re.search(r"\s", name)
    assert_harmless(name)
    assert name.endswith(suffix)


def assert_harmless(name: str) -> None:
    assert 0 < len(name.encode()) <= 255
    assert not re.search(r'[/\\:*?"<>|\x00-\x1f\x7f]', name)
    assert not name.startswith((".", "-", "~"))
    assert not name.endswith((".", " "))
    assert name.isprintable()
    assert name.partition(".")[0].casefold() not in {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
    }
    assert PureWindowsPath(name).name == name
    assert not PureWindowsPath(name).is_reserved() if sys.version_info < (3, 13) else True


@given(ids, ids, suffixes)
@example("Game-1", "game-1", "")
@example("é", "e\u0301", "")
@example("game~1", "game/1", "")
def test_distinct_ids_have_distinct_names_on_every_disk(one: str, other: str, suffix: str):
    def on_a_mac(entity_id: str) -> str:
        return unicodedata.normalize("NFD", safe_name(entity_id, suffix)).casefold()

    assert (on_a_mac(one) == on_a_mac(other)) == (one == other)


def test_all_awkward_ids_at_once(tmp_path: Path):
    names = {safe_name(entity_id, ".json") for entity_id in AWKWARD}
    assert len({name.casefold() for name in names}) == len(AWKWARD)
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("entity_id", "stem"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ("Game-1", "Game-1"),
        ("🎲🎲", "game"),
        ("nul.txt", "_nul.txt"),
        ("José 対 李", "José_対_李"),
        ("x" * 300, "x" * 233),
    ],
)
def test_what_is_readable_stays_readable(entity_id: str, stem: str):
    assert re.fullmatch(re.escape(stem) + "~[0-9a-f]{16}.json", safe_name(entity_id, ".json"))


def test_a_file_keeps_its_ending():
    assert re.fullmatch(r"Star_Station~[0-9a-f]{16}\.SC2Replay", safe_name("Star Station.SC2Replay"))
    assert re.fullmatch(r"_nul~[0-9a-f]{16}\.txt", safe_name("nul.txt"))


@given(ids, suffixes)
@example("Star Station/game 1.SC2Replay", "")
def test_a_safe_path_is_the_id_and_leads_nowhere_else(entity_id: str, suffix: str):
    path = safe_path(entity_id, suffix)
    if path is not None:
        assert path == entity_id + suffix
        for part in path.split("/"):
            assert_harmless(part)
            assert "~" not in part  # what no id's safe_name is without
        assert PurePosixPath(path).as_posix() == path
        assert not PureWindowsPath(path).is_absolute()


@pytest.mark.parametrize(
    "harmless",
    [
        *("game-123", "2009092001", "a", "_x", "round.2", "console", "5e8f-0b", "null", "a" * 250, "Game-1", "José 対 李"),
        *("Star Station.SC2Replay", "2025/03/Finale (best of 5).rep", "🎲", "a+b=c & d's, #1"),
    ],
)
def test_a_harmless_id_stays_as_it_is(harmless: str):
    assert safe_path(harmless, ".json") == f"{harmless}.json"


@pytest.mark.parametrize(
    "harmful",
    [
        *("", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", ".hidden", "a/.tmp-0123456789abcdef", "-rf", "a/-rf"),
        *(
            "c:x",
            "a\\b",
            "con/a",
            "aux.x/y",
            "trailing./x",
            "trailing /x",
            "x" * 251,
            "e\u0301",
            "\u202egpj.exe",
            "a\nb",
            "\ud800",
        ),
    ],
)
def test_a_harmful_id_is_no_path(harmful: str):
    assert safe_path(harmful, ".json") is None
