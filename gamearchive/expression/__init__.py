"""Conditions on games: ``status = 'completed' AND $.rounds[*].winner_id = "p7"``, read into a tree that knows what matches.

::

    expression := both {OR both}
    both       := negated {AND negated}
    negated    := NOT negated | "(" expression ")" | comparison
    comparison := name ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | name [NOT] IN "(" value {"," value} ")"
                | name [NOT] BETWEEN value AND value      both ends included
                | name [NOT] LIKE text                    % is any text, _ any character; \\% and \\_ are themselves
                | name IS [NOT] NULL

Keywords are written in any case. A name is a field of a game (``status``, see `tree.FIELDS`), a tag (``tags.season``,
``tags."any text"``), or a path into the game's own JSON: ``$`` and steps, each ``.key``, ``["any key"]``, ``[2]``, ``[-1]``,
which is the last, or ``[*]``, which is every element of an array and every value of an object. A text has quotes of either
sort, and one in it is doubled. Numbers, dates, instants, durations and sizes need none. A duration stands for the moment so
long ago, as with ``--since``: ``completed_at > 7d``.

A name may stand for several values (``players``, ``[*]``; a player's id and name both count), and a comparison holds if it does
for one of them. It never does for what is unknown, nor for what is of another kind: ``1``, ``"1"`` and ``true`` are three
things. There is no third truth value: ``!=`` and whatever has NOT in it hold exactly where the same without it does not. So
``winner != 'Anna'`` holds where nobody has won, and ``players != 'Anna'`` where nobody of that name plays. Texts are compared
by code point, and case matters.
"""

from gamearchive.expression.parser import parse
from gamearchive.expression.tree import Expression, Field, Path, Tag

__all__ = ["Expression", "Field", "Path", "Tag", "parse"]
