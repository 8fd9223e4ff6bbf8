"""Names that games are restored under: safe whatever an id holds, on Linux, macOS and Windows alike.

`safe_path` keeps an id that does no harm as it is, folders and all, and is None for any other. `safe_name` makes a name of any
id, a different one for each. Neither ever gives what the other gives.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

MAX_NAME_BYTES = 255

_HARMFUL = re.compile(r'[\\:*?"<>|~]|^[ .-]|[ .]$|^$')
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,16}$")
_RESERVED_NAME = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|$)", re.IGNORECASE)


def safe_path(entity_id: str, suffix: str = "") -> str | None:
    """The relative path that a game is restored under: its id, where that is one that does no harm anywhere; else None.

    Slashes make folders. Every part can be a file's name on Linux, macOS and Windows alike, leads nowhere else, is not hidden,
    and looks like no option and no name of `safe_name`.

    Args:
        entity_id: any string.
        suffix: what the path shall end with, such as ``.json``; plain ASCII.
    """
    parts = f"{entity_id}{suffix}".split("/")
    return "/".join(parts) if all(map(_is_harmless, parts)) else None


def _is_harmless(name: str) -> bool:
    if not name.isprintable() or _HARMFUL.search(name) or _RESERVED_NAME.match(name):
        return False
    return len(name.encode()) <= MAX_NAME_BYTES and unicodedata.is_normalized("NFC", name)


def safe_name(entity_id: str, suffix: str = "") -> str:
    """The name of the file that a game is restored under where its id will not do, good on Linux, macOS and Windows alike.

    It is what is readable of the id, ``~`` and 16 hexadecimal digits of the id's BLAKE2b, before its own ending such as
    ``.rep`` if no other is given: with one suffix, two ids never share a name, not even on a disk that takes ``Game`` and
    ``game`` for the same.

    Args:
        entity_id: any string.
        suffix: what the name shall end with, such as ``.json``; plain ASCII.

    Returns:
        one path segment of at most 255 bytes.
    """
    room = MAX_NAME_BYTES - len(suffix)
    mark = "~" + blake2b(entity_id.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    letters = (letter if letter.isalnum() or letter in ".-" else "_" for letter in unicodedata.normalize("NFC", entity_id))
    stem = re.sub("_+", "_", "".join(letters)).strip("._-")
    ending = None if suffix else _ENDING.search(stem)
    if ending is not None:
        stem, suffix = stem[: ending.start()], ending[0]
        room -= len(suffix)
    if _RESERVED_NAME.match(stem):
        stem = f"_{stem}"
    return (stem.encode()[: room - len(mark)].decode(errors="ignore") or "game") + mark + suffix
