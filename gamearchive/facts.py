"""The facts of a game, taken from its JSON: its id, players, winner, status, and when it was created and completed.

Games agree on what their facts are, not on what to call them. Without rules the names that games use in the wild are tried, in
a fixed order, and the first that holds a usable value decides. A `FactRules` says for any fact where it is instead: then that
place alone decides.

What cannot be read is unknown (``None``), never an error: a game is archived for its bytes, not for its facts. Texts are made
storable in any database (a NUL or half a surrogate pair becomes U+FFFD) and cut to 256 characters; the game's own id is
given as it is, since changing it would name another game. Values that `encoding` tags are seen as what JSON can say of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from gamearchive import encoding
from gamearchive.errors import ConfigurationError, SourceError
from gamearchive.model import MAX_PLAYERS, MAX_TEXT, Facts, Player, are_plain
from gamearchive.units import SECOND, to_instant

MAX_STATUS = 64

Path = tuple[str, ...]
T = TypeVar("T")


def _paths(*pointers: str) -> tuple[Path, ...]:
    return tuple(tuple(pointer.split("/")) for pointer in pointers)


_USUAL: dict[str, tuple[Path, ...]] = {
    "id": _paths(
        "id", "_id", "game_id", "gameId", "gameID", "match_id", "matchId", "matchID", "uuid", "guid", "table_id", "tableId",
        "metadata/matchId", "info/gameId",
    ),
    "players": _paths(
        "players", "participants", "playerIds", "player_ids", "playerNames", "player_names", "seats", "competitors",
        "info/participants", "metadata/participants", "publicObservation/playerIds",
    ),
    "winner": _paths(
        "winner", "winner_id", "winnerId", "winner_name", "winnerName", "winning_player", "winningPlayer", "winners",
    ),
    "status": _paths("status", "state", "game_status", "gameStatus", "info/endOfGameResult"),
    "created_at": _paths(
        "created_at", "createdAt", "created", "creation_time", "started_at", "startedAt", "start_time", "startTime", "started",
        "start", "begin_time", "beginTime", "timestamp", "info/gameCreation", "info/gameStartTimestamp",
    ),
    "completed_at": _paths(
        "completed_at", "completedAt", "completed", "finished_at", "finishedAt", "finished", "ended_at", "endedAt", "end_time",
        "endTime", "ended", "end", "lastMoveAt", "info/gameEndTimestamp",
    ),
}  # fmt: skip
_PAIRS = (
    ("white", "black"), ("home", "away"), ("team1", "team2"), ("player1", "player2"), ("home_team", "away_team"),
    ("homeTeam", "awayTeam"), ("p1", "p2"),
)  # fmt: skip
_DATE, _TIME = "date", "time"  # a kick-off, in two fields

_PLAYER_ID = (
    "id", "_id", "player_id", "playerId", "user_id", "userId", "uuid", "account_id", "accountId", "puuid", "steam_id",
)  # fmt: skip
_PLAYER_NAME = (
    "name", "username", "userName", "user_name", "display_name", "displayName", "nickname", "nick", "handle", "login",
    "player_name", "playerName", "full_name", "fullname", "personaname", "riotIdGameName", "summonerName", "abbr",
)  # fmt: skip
_PLAYER_INSIDE = ("user", "player", "account", "profile")
_SEAT_NAME = re.compile(r"\d{1,2}|white|black|red|blue|green|yellow|north|east|south|west|home|away", re.IGNORECASE)
_WON = ("winner", "won", "win", "is_winner", "isWinner")
_NOBODY = frozenset({"draw", "drawn", "tie", "none", "nobody", "no one", "null", "undefined", "-"})

USUAL_NAMES = frozenset(
    [path[0] for paths in _USUAL.values() for path in paths] + [seat for pair in _PAIRS for seat in pair] + [_DATE]
)
"""Every name at the top of a game's JSON that is looked at without rules."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_EPOCH_TEXT = re.compile(r"-?\d{9,19}(?:\.\d+)?", re.ASCII)
_FIRST = to_instant(datetime.min.replace(tzinfo=UTC))
_LAST = to_instant(datetime.max.replace(tzinfo=UTC))
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODE = msgspec.json.Decoder().decode


class FactRules(msgspec.Struct, frozen=True):
    """Where a game's facts are: a JSON pointer (RFC 6901) for each, or None for the usual names.

    A ``*`` in a pointer stands for every element of an array or every value of an object: ``/participants/*/name``. Where it
    finds several values, all of them are the players; any other fact is the first.

    Raises:
        ConfigurationError: if a pointer does not begin with a slash, or has a ``~`` that RFC 6901 does not know.
    """

    id: str | None = None
    players: str | None = None
    winner: str | None = None
    status: str | None = None
    created_at: str | None = None
    completed_at: str | None = None

    def __post_init__(self) -> None:
        for fact, pointer in msgspec.structs.asdict(self).items():
            if pointer is not None:
                _parse_pointer(pointer, fact)


USUAL = FactRules()
"""The rules that leave every fact to the usual names."""


def extract(payload: bytes, rules: FactRules = USUAL) -> tuple[str | None, Facts]:
    """Take the id and the facts from the bytes of one JSON game, decoding no more of it than they need.

    What the standard library's parser takes is taken, beyond the letter of RFC 8259: NaN, infinities, half surrogate pairs.

    Returns:
        The game's id, None if it has none, and its facts.

    Raises:
        SourceError: if the bytes are not one JSON object in UTF-8, or are nested too deeply for the parser.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"the record is not UTF-8: byte 0x{payload[error.start]:02X} at offset {error.start}") from None
    if (rules is USUAL or rules == USUAL) and (found := _extract_plain(payload)) is not None:
        return found
    try:
        fields = _FIELDS.decode(payload)
        wanted = None if encoding.PAIRS in fields else _wanted_names(rules)
        document = {name: _DECODE(raw) for name, raw in fields.items() if wanted is None or name in wanted}
    except msgspec.DecodeError:
        document = _parse_leniently(text)
    except RecursionError:
        raise SourceError("the record is nested too deeply to be read") from None
    if encoding.TAGGED in payload:
        document = encoding.simplify(document)
    return facts_of(document if isinstance(document, dict) else {}, rules)


class _PlainGame(msgspec.Struct, gc=False):
    """The form that most games have: every fact under the first of its usual names, and a text."""

    id: str
    players: tuple[Player, ...]
    winner: str
    status: str
    created_at: str
    completed_at: str


_PLAIN = msgspec.json.Decoder(_PlainGame)


def _extract_plain(payload: bytes) -> tuple[str, Facts] | None:
    """What `facts_of` finds in a game of the most usual form, at a third of the cost; None for any other."""
    try:
        game = _PLAIN.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    texts = [game.id, game.status]
    winner = None
    for player in game.players:
        texts += player.id, player.name  # type: ignore[arg-type]  # None is what the next line is for
        if winner is None and game.winner in (player.id, player.name):
            winner = player
    # What is not quite plain is left to facts_of, which mends a text, or looks for it under another name.
    if winner is None or not are_plain(texts) or len(game.status) > MAX_STATUS or len(game.players) > MAX_PLAYERS:
        return None
    created_at, completed_at = parse_time(game.created_at), parse_time(game.completed_at)
    if created_at is None or completed_at is None:
        return None
    return game.id, Facts(game.players, winner, game.status, created_at, completed_at)


def facts_of(document: Mapping[str, object], rules: FactRules = USUAL) -> tuple[str | None, Facts]:
    """Take the id and the facts from a decoded game, such as one in play: the same rules as for its JSON."""
    seats = _find_seats(document, rules)
    winner = _find(document, "winner", rules.winner, lambda value: _resolve_winner(value, seats))
    if winner is None and rules.winner is None:
        winner = _declared_winner(seats)
    created_at = _find(document, "created_at", rules.created_at, parse_time)
    if created_at is None and rules.created_at is None and _DATE in document:
        created_at = _kick_off(document.get(_DATE), document.get(_TIME))
    return _find(document, "id", rules.id, _game_id), Facts(
        tuple([player for player in seats.players if player is not None]),
        winner,
        _find(document, "status", rules.status, _status),
        created_at,
        _find(document, "completed_at", rules.completed_at, parse_time),
    )


def parse_time(value: object) -> int | None:
    """Read a time as games write it, as microseconds since the epoch; None if it is none, or outside the years 1 to 9999.

    Taken are RFC 3339 and ISO 8601 (without an offset: UTC), a date, MongoDB's ``{"$date": …}``, and the epoch's seconds,
    milliseconds, microseconds and nanoseconds, told apart by their size, as numbers or as digits. Numbers nearer to zero than
    10^8 (1973 in seconds) are counters and clocks, not times.
    """
    if isinstance(value, str):
        value = value.strip()
        if value[4:5] == "-" or not _EPOCH_TEXT.fullmatch(value):
            try:
                return _within_years(to_instant(datetime.fromisoformat(value)))
            except (ValueError, OverflowError):
                return None
        value = float(value) if "." in value else int(value)
    if isinstance(value, dict):
        return parse_time(value["$date"]) if value.keys() == {"$date"} and not isinstance(value["$date"], dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    size = abs(value)
    if not 1e8 <= size < 1e20:  # not a number fails this too
        return None
    if size < 1e11:
        return _within_years(round(value * SECOND))
    if size < 1e14:
        return _within_years(round(value * 1000))
    return _within_years(round(value)) if size <= _LAST else _within_years(int(value) // 1000)


def clean_text(value: object) -> str | None:
    """A text as facts hold it: storable anywhere and at most 256 characters; None if it is blank, or no text."""
    if not isinstance(value, str):
        return None
    if not value.isprintable():
        value = _UNSTORABLE.sub("\ufffd", value)
    return value[:MAX_TEXT] if value and not value.isspace() else None


class _Seats(NamedTuple):
    """Who sits where: what the game has for each seat, and the player read from it, None where there is nobody."""

    players: list[Player | None]
    values: list[object]
    names: list[str] | None = None  # None: seats have numbers

    def name(self, number: int) -> str:
        return str(number) if self.names is None else self.names[number]


def _parse_leniently(text: str) -> dict[str, object]:
    try:
        document = json.loads(text, parse_int=_parse_int)
    except RecursionError:
        raise SourceError("the record is nested too deeply to be read") from None
    except json.JSONDecodeError as error:
        raise SourceError(f"the record is not valid JSON: {error.msg} (character {error.pos})") from None
    if not isinstance(document, dict):
        raise SourceError("the record is no JSON object")
    return document


def _parse_int(digits: str) -> int | float:
    """As the standard library does, but without its refusal of numbers of thousands of digits."""
    return int(digits) if len(digits) <= 1000 else float(digits)


@lru_cache(maxsize=64)
def _parse_pointer(pointer: str, fact: str) -> Path:
    if not pointer.startswith("/") or re.search("~(?![01])", pointer):
        raise ConfigurationError(
            f"{pointer!r}, said to lead to a game's {fact}, is not a JSON pointer.",
            hint="Write a path from the top of the game, such as /meta/matchId or /participants/*/name.",
        )
    return tuple(segment.replace("~1", "/").replace("~0", "~") for segment in pointer[1:].split("/"))


@lru_cache(maxsize=64)
def _wanted_names(rules: FactRules) -> frozenset[str] | None:
    """The names at the top of a game that the rules look at; None if they look at all."""
    wanted: set[str] = set()
    for fact, pointer in msgspec.structs.asdict(rules).items():
        if pointer is not None:
            wanted.add(_parse_pointer(pointer, fact)[0])
            continue
        wanted.update(path[0] for path in _USUAL[fact])
        if fact == "players":
            wanted.update(seat for pair in _PAIRS for seat in pair)
        if fact == "created_at":
            wanted.update((_DATE, _TIME))
    return None if "*" in wanted else frozenset(wanted)


def _find(document: Mapping[str, object], fact: str, pointer: str | None, read: Callable[[object], T | None]) -> T | None:
    """The first place that a fact may be at whose value can be read as that fact; with a pointer, the place it leads to."""
    if pointer is not None:
        return next((read(value) for value in _matches(document, _parse_pointer(pointer, fact))), None)
    for path in _USUAL[fact]:
        value = document.get(path[0])
        for name in path[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None and (found := read(value)) is not None:
            return found
    return None


def _matches(value: object, path: Path) -> Iterator[object]:
    """Every value that a pointer leads to, in the order of the document."""
    if not path:
        yield value
        return
    segment, rest = path[0], path[1:]
    if segment == "*":
        inner: Iterable[object] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        for each in inner:
            yield from _matches(each, rest)
    elif isinstance(value, Mapping):
        if segment in value:
            yield from _matches(value[segment], rest)
    elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", segment) and int(segment) < len(value):
        yield from _matches(value[int(segment)], rest)


def _find_seats(document: Mapping[str, object], rules: FactRules) -> _Seats:
    if rules.players is not None:
        path = _parse_pointer(rules.players, "players")
        found = list(islice(_matches(document, path), MAX_PLAYERS))
        return _seats(found if "*" in path else found[0] if found else None) or _Seats([], [])
    seats = _find(document, "players", None, _seats)
    if seats is not None:
        return seats
    for pair in _PAIRS:
        if pair[0] in document and pair[1] in document:
            return _seats({seat: document[seat] for seat in pair}) or _Seats([], [])
    return _Seats([], [])


def _seats(value: object) -> _Seats | None:
    """Read a list of players or an object of seats; None if there is nobody.

    In an object whose values do not say who they are of (``{"alice": {"score": 3}}``), the names tell, unless they are the
    names of seats.
    """
    if isinstance(value, list):
        values = value[:MAX_PLAYERS]
        seats = _Seats([_player(each) for each in values], values)
    elif isinstance(value, Mapping):
        names = list(islice(value, MAX_PLAYERS))
        values = [value[name] for name in names]
        players = [_player(each) or _player_named(name, each) for name, each in zip(names, values, strict=True)]
        seats = _Seats(players, values, names)
    else:
        return None
    return seats if any(seats.players) else None


def _player_named(name: str, value: object) -> Player | None:
    if isinstance(value, dict) and not _SEAT_NAME.fullmatch(name) and (text := clean_text(name)) is not None:
        return Player(name=text)
    return None


def _player(value: object) -> Player | None:
    """A player from a name, a number that is an id, or an object that holds either."""
    if isinstance(value, dict):
        player_id = _first(value, _PLAYER_ID, _text_or_number)
        name = _first(value, _PLAYER_NAME, clean_text)
        if player_id is not None or name is not None:
            return Player(player_id, name)
        inside = _first(value, _PLAYER_INSIDE, lambda each: each)
        return _player(inside) if not isinstance(inside, dict) or inside.keys().isdisjoint(_PLAYER_INSIDE) else None
    if isinstance(value, str):
        name = clean_text(value)
        return Player(name=name) if name is not None else None
    number = _text_or_number(value)
    return Player(id=number) if number is not None else None


def _first(value: dict[str, object], names: Iterable[str], read: Callable[[object], T | None]) -> T | None:
    for name in names:
        if name in value and (found := read(value[name])) is not None:
            return found
    return None


def _resolve_winner(value: object, seats: _Seats) -> Player | None:
    """The player whose id, name or object this is, or whose seat, counted from 0; else one who is not among the players."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    winner = _player(value)
    if winner is None:
        return None
    for known in (winner.id, winner.name):
        if known is None:
            continue
        for player in seats.players:
            if player is not None and known in (player.id, player.name):
                return player
    label = winner.label.lower()
    for number, player in enumerate(seats.players):
        if player is not None and seats.name(number).lower() == label:
            return player
    if label in _NOBODY or (isinstance(value, int) and (seats.players or value < 0)):
        return None
    return winner


def _declared_winner(seats: _Seats) -> Player | None:
    """The one player of whom the game says in their own object that they won."""
    winners = [
        player
        for player, value in zip(seats.players, seats.values, strict=True)
        if isinstance(value, dict) and (value.get("result") == "win" or any(value.get(key) is True for key in _WON))
    ]
    return winners[0] if len(winners) == 1 else None


def _game_id(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, dict):
        return _game_id(value.get("$oid"))
    return _text_or_number(value)


def _text_or_number(value: object) -> str | None:
    if isinstance(value, str | UUID):
        return clean_text(str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value.bit_length() <= 800 else None  # within MAX_TEXT digits
    return None


def _status(value: object) -> str | None:
    text = clean_text(value)
    return None if text is None else text[:MAX_STATUS]


def _kick_off(date: object, time: object) -> int | None:
    together = parse_time(f"{date}T{time}") if isinstance(date, str) and isinstance(time, str) else None
    return parse_time(date) if together is None else together


def _within_years(instant: int) -> int | None:
    return instant if _FIRST <= instant <= _LAST else None
