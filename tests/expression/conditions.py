"""Hypothesis strategies of conditions, as trees, that any text of the language can be compared with."""

from __future__ import annotations

from hypothesis import strategies as st

from gamearchive.expression.tree import (
    FIELDS,
    SIGNS,
    And,
    Comparison,
    Expression,
    Field,
    Kind,
    Moment,
    Name,
    Not,
    Or,
    Path,
    Tag,
)
from gamearchive.units import format_instant

texts = st.text(max_size=8)
keys = st.text(min_size=1, max_size=6) | st.sampled_from(["rounds", "a-b", "0", "*", 'q"q', "it's"])
names: st.SearchStrategy[Name] = st.one_of(
    st.sampled_from(sorted(FIELDS)).map(Field),
    keys.map(Tag),
    st.lists(keys | st.integers(-9, 99) | st.none(), max_size=4).map(lambda steps: Path(tuple(steps))),
)
moments = st.one_of(
    st.integers(-(10**16), 10**17).map(lambda instant: Moment(format_instant(instant))),
    st.sampled_from(["90s", "15m", "7d", "3mo", "1d12h", "0s"]).map(Moment),
)
numbers = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = {
    Kind.TEXT: texts,
    Kind.SIZE: st.integers(0, 10**15),
    Kind.INSTANT: moments,
    Kind.ANY: texts | numbers | st.booleans() | moments,
}


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    name = draw(names)
    values = VALUES[name.kind]
    operators = [*SIGNS, "IN", "BETWEEN", "IS NOT NULL", *(["LIKE"] if name.kind in (Kind.TEXT, Kind.ANY) else [])]
    match operator := draw(st.sampled_from(operators)):
        case "IN":
            return Comparison(name, operator, tuple(draw(st.lists(values, min_size=1, max_size=3))))
        case "BETWEEN":
            return Comparison(name, operator, (draw(values), draw(values)))
        case "IS NOT NULL":
            return Comparison(name, operator)
        case "LIKE":
            return Comparison(name, operator, (draw(texts),))
    return Comparison(name, operator, (draw(values),))


def _joined(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return parts.map(Not) | several.map(And) | several.map(Or)


expressions: st.SearchStrategy[Expression] = st.recursive(comparisons(), _joined, max_leaves=8)
