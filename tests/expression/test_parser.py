"""Conditions read from their text: what they mean, what they are told when they mean nothing, and that nothing else happens."""

from __future__ import annotations

import pytest
from expression.conditions import expressions
from hypothesis import example, given
from hypothesis import strategies as st

from gamearchive.errors import UsageError
from gamearchive.expression import parse
from gamearchive.expression.parser import MAX_DEPTH, MAX_LENGTH
from gamearchive.expression.tree import And, Comparison, Expression, Field, Moment, Not, Or, Path, Tag

WON = Comparison(Field("winner"), "=", ("Anna",))
OVER = Comparison(Field("status"), "=", ("over",))
BIG = Comparison(Field("raw_bytes"), ">", (4096,))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("winner = 'Anna'", WON),
        (' \n winner="Anna" ', WON),
        ("((winner = 'Anna'))", WON),
        ("winner != 'Anna'", Not(WON)),
        ("not winner = 'Anna'", Not(WON)),
        ("raw_bytes > 4KB", BIG),
        ("raw_bytes > '4 KiB'", BIG),
        ("raw_bytes>4096", BIG),
        ("winner = 'Anna' and status = 'over' AND raw_bytes > 4096", And((WON, OVER, BIG))),
        ("winner = 'Anna' OR status = 'over' and raw_bytes > 4096", Or((WON, And((OVER, BIG))))),
        ("(winner = 'Anna' OR status = 'over') and raw_bytes > 4096", And((Or((WON, OVER)), BIG))),
        ("NOT winner = 'Anna' AND status = 'over'", And((Not(WON), OVER))),
        ("NOT (winner = 'Anna' AND status = 'over')", Not(And((WON, OVER)))),
        ("winner IS NOT NULL", Comparison(Field("winner"), "IS NOT NULL")),
        ("winner is null", Not(Comparison(Field("winner"), "IS NOT NULL"))),
        ("status IN ('a', 'b')", Comparison(Field("status"), "IN", ("a", "b"))),
        ("status not in('a')", Not(Comparison(Field("status"), "IN", ("a",)))),
        ("raw_bytes BETWEEN 1 AND 1KB AND winner = 'Anna'", And((Comparison(Field("raw_bytes"), "BETWEEN", (1, 1024)), WON))),
        ("entity_id NOT LIKE 'bot-%'", Not(Comparison(Field("entity_id"), "LIKE", ("bot-%",)))),
        ("entity_id = 'it''s \"x\"'", Comparison(Field("entity_id"), "=", ('it\'s "x"',))),
        ("tags.season.2 = '2025'", Comparison(Tag("season.2"), "=", ("2025",))),
        ("tags.'my \"season\"' = ''", Comparison(Tag('my "season"'), "=", ("",))),
        ("completed_at > 7d", Comparison(Field("completed_at"), ">", (Moment("7d"),))),
        ("completed_at > '1d12h'", Comparison(Field("completed_at"), ">", (Moment("1d12h"),))),
        ("created_at < 2025-03-01", Comparison(Field("created_at"), "<", (Moment("2025-03-01T00:00:00Z"),))),
        ("created_at < '2025-03-01 13:00+01:00'", Comparison(Field("created_at"), "<", (Moment("2025-03-01T12:00:00Z"),))),
        ("$ IS NULL", Not(Comparison(Path(()), "IS NOT NULL"))),
        ("$.rounds[*].winner_id = 'p7'", Comparison(Path(("rounds", None, "winner_id")), "=", ("p7",))),
        ("$.a.*[-1][2]['b c'][\"*\"].7 = 7", Comparison(Path(("a", None, -1, 2, "b c", "*", "7")), "=", (7,))),
        ("$.größe = -1.5e3", Comparison(Path(("größe",)), "=", (-1500.0,))),
        ("$.ranked = true", Comparison(Path(("ranked",)), "=", (True,))),
        ("$.ended > 7d", Comparison(Path(("ended",)), ">", (Moment("7d"),))),
        ("$.ended > '7d'", Comparison(Path(("ended",)), ">", ("7d",))),
    ],
)
def test_what_a_text_means(text: str, tree: Expression) -> None:
    assert parse(text) == tree
    assert repr(parse(str(tree))) == repr(tree)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "It ends where the name of a field, a tag or a path should stand"),
        ("winer = 'x'", 1, "`winer` is not a field of a game; the nearest is `winner`"),
        ("status = 'x' AND info.map = 'y'", 18, "`info.map` is not a field"),
        ("tags = 'x'", 1, "`tags` is not a field of a game; the nearest is `tags.KEY`"),
        ("and = 'x'", 1, "and stands where the name of a field"),
        ("winner 'x'", 8, "'x' stands where a comparison"),
        ("winner == 'x'", 8, "== stands where a comparison"),
        ("winner", 7, "It ends where a comparison"),
        ("winner NOT = 'x'", 12, "= stands where a comparison"),
        ("winner IS 'x'", 11, "'x' stands where NULL should"),
        ("winner = null", 10, "null stands where a text in quotes to compare winner with should"),
        ("winner = Anna", 10, "Anna stands where a text in quotes"),
        ("entity_id = 12", 13, "12 stands where a text in quotes"),
        ("$.map = Anna", 9, "Anna stands where a value of the game's own"),
        ("$.map LIKE 7", 12, "7 stands where a pattern in quotes should"),
        ("raw_bytes LIKE '7%'", 11, "LIKE stands where a comparison"),
        ("raw_bytes > lots", 13, "lots stands where a size"),
        ("raw_bytes > 5 parsecs", 15, "parsecs stands where AND, OR or the end should"),
        ("raw_bytes > -5", 13, "'-5' is not a size"),
        ("completed_at > 7x", 16, "'7x' is not a date or an instant"),
        ("completed_at > true", 16, "true stands where a time"),
        ("$.score > 1e999", 11, "1e999 is larger than any number"),
        ("$.score > 1.2.3", 11, "'1.2.3' is not a date"),
        ("status IN ()", 12, ") stands where a text"),
        ("status IN ('a' 'b')", 16, "'b' stands where ) should"),
        ("raw_bytes BETWEEN 1 OR 2", 21, "OR stands where AND should"),
        ("(winner = 'x'", 14, "It ends where ) should stand"),
        ("winner = 'x')", 13, ") stands where AND, OR or the end"),
        ("winner = 'x", 10, "The text that begins here has no end"),
        ("winner = 'x' ; status = 'y'", 14, "; means nothing"),
        ("$.rounds[x] = 1", 9, "[ means nothing"),
        ("$..a = 1", 2, ". means nothing"),
    ],
)
def test_what_means_nothing_is_told_with_its_column_and_a_caret(text: str, column: int, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert raised.value.message.startswith(f"The condition makes no sense at column {column}: {said}")
    assert raised.value.__notes__ == [f"{text}\n{' ' * (column - 1)}^"]
    assert raised.value.hint


def test_a_place_in_the_game_that_is_no_field_is_named_as_a_path() -> None:
    with pytest.raises(UsageError) as raised:
        parse("map = 'inferno'")
    assert "$.map" in raised.value.hint
    assert "completed_at" in raised.value.hint


def test_of_a_long_condition_the_part_is_shown_that_is_wrong() -> None:
    text = " AND ".join(["status = 'x'"] * 50 + ["\tstatus ? 'x'"] + ["status = 'y'"] * 50)
    with pytest.raises(UsageError) as raised:
        parse(text)
    line, caret = raised.value.__notes__[0].split("\n")
    assert line[len(caret) - 1] == "?"
    assert "\t" not in line
    assert len(line) <= 120


def test_depth_and_length_are_bounded() -> None:
    inner = "status = 'x'"
    assert parse("(" * MAX_DEPTH + inner + ")" * MAX_DEPTH) == parse(inner)
    for text in ["(" * (MAX_DEPTH + 1) + inner + ")" * (MAX_DEPTH + 1), "NOT " * (MAX_DEPTH + 1) + inner, "(" * MAX_LENGTH]:
        with pytest.raises(UsageError, match="lie within one another"):
            parse(text)
    with pytest.raises(UsageError, match=f"A condition of {MAX_LENGTH + 1} characters is too long"):
        parse(" " * (MAX_LENGTH + 1))


@given(expressions)
def test_the_text_of_a_tree_is_read_into_an_equal_one(tree: Expression) -> None:
    assert repr(parse(str(tree))) == repr(tree)  # the repr tells 1 from 1.0 and TRUE


_WORDS = r"""
    status winner tags.x $.a[*] raw_bytes completed_at = != < >= ( ) , AND OR NOT IN BETWEEN LIKE IS NULL TRUE
    'x' " ' [ . $ 7d 2025-03-01 4KB 1e999 -1 999999999999999999999999y
"""


@given(st.text(max_size=60) | st.lists(st.sampled_from(_WORDS.split()) | st.text(max_size=3), max_size=20).map(" ".join))
@example("completed_at > " + "9" * 400 + "d")
@example("raw_bytes > " + "9" * 400)
@example("completed_at > '\u0667d'")  # a digit, though not of ours
@example("$.a > " + "9" * 5000)
@example("created_at > 0001-01-01T00:00:00+23:59")
@example("created_at > 9999-12-31T23:59:59-23:59")
def test_garbage_is_refused_and_does_nothing_else(text: str) -> None:
    try:
        tree = parse(text)
    except UsageError:
        return
    assert parse(str(tree)) == tree
