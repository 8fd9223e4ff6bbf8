"""``[composite]`` in the settings: what it says, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import leave_user

from gamearchive.composition import Composition, MoveRule, PartPlan
from gamearchive.errors import ConfigurationError
from gamearchive.settings import Settings, load_settings

WHOLE = """
[composite]
write_quorum = 2
[[composite.part]]
name = "disk"
url = "file:///var/lib/games"
[[composite.part]]
name = "mirror"
url = "s3://key:secret@mirror/games?token=planted"
[[composite.part]]
name = "bucket"
url = "s3://games/archive"
tier = "cold"
move_after = "30d"
move_types = ["chess", "football"]
move_min_size = "1MB"
"""


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_user(monkeypatch, tmp_path)


def load(text: str, **flags: str) -> Settings:
    Path("gamearchive.toml").write_text(text)
    return load_settings(flags)


def test_parts_tiers_and_rules_are_read() -> None:
    settings = load(WHOLE)
    rule = MoveRule(30 * 86_400.0, ("chess", "football"), 1 << 20)
    assert settings.composite == Composition(
        (
            PartPlan("disk", "file:///var/lib/games"),
            PartPlan("mirror", "s3://key:secret@mirror/games?token=planted"),
            PartPlan("bucket", "s3://games/archive", "cold", rule),
        ),
        2,
    )
    assert settings.composite.tiers == ("hot", "cold")
    assert settings.composite.rule_of("cold") == rule
    assert settings.storage == "composite:disk,mirror,bucket"


def test_it_is_shown_with_its_sources_and_without_secrets() -> None:
    settings = load(WHOLE)
    shown = settings.shown()
    assert shown["composite.write_quorum"] == 2
    assert shown["composite.bucket.move_after"] == "2592000s"
    assert "planted" not in str(shown)
    assert "secret" not in str(shown)
    assert {settings.sources[key].partition(" ")[0] for key in shown if key.startswith("composite")} == {"file"}


def test_a_storage_that_is_said_with_more_right_takes_its_place() -> None:
    settings = load(WHOLE, storage="file:///elsewhere")
    assert (settings.composite, settings.storage_urls) == (None, ["file:///elsewhere"])


PART = '[[composite.part]]\nname = "a"\nurl = "file:///a"\n'
OTHER = '[[composite.part]]\nname = "b"\nurl = "file:///b"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('storage = "file:///a"\n[composite]\n' + PART, "has both `storage` and `[composite]`"),
        ("[composite]\nwrite_quorum = 1\n", "has no part"),
        ("[composite]\nwrite_quorum = 3\n" + PART + OTHER, "write_quorum is 3, and the first tier, 'hot', has 2 parts"),
        ("[composite]\nwrite_quorum = 0\n" + PART, "`composite.write_quorum`"),
        ("[composite]\nquorum = 1\n" + PART, "the nearest is `composite.write_quorum`"),
        (PART + OTHER.replace('"b"', '"a"'), "are called the same: a"),
        (PART + OTHER.replace("///b", "///a"), "lie at the same"),
        (PART.replace('"a"\n', '"A part"\n'), "'A part' cannot be the name of a part"),
        (PART.replace("name", "nam"), "`composite.part 1: nam`"),
        ('[[composite.part]]\nname = "a"\n', "does not say its `url`"),
        (PART + OTHER + 'tier = "cold"\n', "When packs move to tier 'cold' is not said"),
        (PART + 'move_after = "1d"\n', "Nothing moves to tier 'hot'"),
        (PART + OTHER + 'tier = "cold"\nmove_types = ["chess"]\n', "does not say its `move_after`"),
        ("composite = 3\n", "a table"),
        ("[composite]\npart = 3\n", "write [[composite.part]]"),
        (PART.replace("file:///a", "nowhere"), "a URL"),
    ],
)
def test_what_contradicts_itself_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert said in caught.value.message
