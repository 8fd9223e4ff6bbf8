"""Dictionaries: what the games of one type have in common, learnt once, so that each compresses small on its own.

A dictionary is data like a pack: without it, what was compressed with it is lost. So it is stored twice, under two keys
(`dictionary_keys`), and it proves itself: its Zstandard id is derived from all its other bytes, and packs name it by this id
and by its BLAKE2b-128. It is an ordinary Zstandard dictionary, that ``zstd -D`` takes as it is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING

from gamearchive.errors import IntegrityError
from gamearchive.model import checksum

if TYPE_CHECKING:
    from zstandard import ZstdCompressionDict, ZstdCompressor, ZstdDecompressor

DICTIONARY_BYTES = 112 * 1024
DENSE_DICTIONARY_BYTES = 448 * 1024
"""The largest of a fresh pack, which gains nothing from more, and of a dense one, whose blocks take 5 % less with it."""
MIN_SAMPLES = 100
MAX_TRAINING_BYTES = 32 << 20

_MAGIC = b"\x37\xa4\x30\xec"
_ID = slice(4, 8)
_MIN_DICTIONARY_BYTES = 4096
_FREE_IDS = range(32768, 1 << 31)  # the Zstandard format keeps lower and higher ids for dictionaries that it registers
_TRAINING_LEVEL = 3
_WORTHWHILE = 0.95  # of the compressed size without it: a dictionary that saves less is not worth having to keep

# Segment and d-mer size of the trainer, fixed, and all samples learnt from. On 2,000 games of 4 KB this takes 0.1 s, and level
# 3 then compresses to 17.2 % of raw; a search for the best sizes takes 0.3 to 0.8 s, and comes to 17.2 % too.
_SEGMENT, _DMER, _TAUGHT_SHARE = 500, 6, 1.0

_SHARED_FOLDER = "_dictionaries"  # no entity type begins with an underscore, so this is never a type's own folder
_KEY = re.compile(r"(?P<folder>[^/]+)/(?P<type>[a-z0-9][a-z0-9_-]{0,63})-(?P<id>[1-9]\d{4,9})\.zdict")


class Dictionary:
    """A trained dictionary of one entity type. May be used from any number of threads at once.

    Args:
        entity_type: whose games it was trained on.
        data: the Zstandard dictionary.

    Raises:
        IntegrityError: if the data is none, or is not what its id was derived from.
    """

    def __init__(self, entity_type: str, data: bytes) -> None:
        from zstandard import DICT_TYPE_FULLDICT, ZstdCompressionDict

        self.entity_type = entity_type
        self.data = data
        self.checksum = checksum(data)
        self.id = int.from_bytes(data[_ID], "little")
        if not data.startswith(_MAGIC) or self.id != _content_id(data):
            raise IntegrityError(f"A dictionary of type {entity_type!r} is damaged: its id {self.id} does not fit its content.")
        self._digested: ZstdCompressionDict = ZstdCompressionDict(data, dict_type=DICT_TYPE_FULLDICT)
        self._local = threading.local()

    @classmethod
    def from_bytes(cls, key: str, data: bytes, expected: bytes | None = None) -> Dictionary:
        """Take a dictionary as it came from storage.

        Args:
            key: the key it was stored under, one of its `dictionary_keys`.
            data: what was found there.
            expected: its BLAKE2b-128, where a pack says it.

        Raises:
            IntegrityError: if it is not the dictionary of that key and checksum.
        """
        named = parse_dictionary_key(key)
        if named is None:
            raise IntegrityError(f"{key!r} is not the name of a dictionary.")
        try:
            dictionary = cls(named[0], data)
        except IntegrityError:
            raise IntegrityError(
                f"Dictionary {key} is damaged: its bytes are not those that its id was derived from."
            ) from None
        if dictionary.id != named[1]:
            raise IntegrityError(f"Dictionary {key} is another one: its bytes are those of dictionary {dictionary.id}.")
        if expected is not None and dictionary.checksum != expected:
            raise IntegrityError(f"Dictionary {key} is not the one its packs were made with: its checksum differs.")
        return dictionary

    def compressor(self, level: int) -> ZstdCompressor:
        """A compressor that uses it, for one thread; made anew each time, as one serves for a whole batch."""
        return new_compressor(level, self._digested)

    def decompressor(self) -> ZstdDecompressor:
        """The calling thread's decompressor (zstandard's objects may not be used by two threads at once)."""
        try:
            kept: ZstdDecompressor = self._local.decompressor
        except AttributeError:
            from zstandard import ZstdDecompressor

            kept = self._local.decompressor = ZstdDecompressor(dict_data=self._digested)
        return kept


def new_compressor(level: int, digested: ZstdCompressionDict | None = None) -> ZstdCompressor:
    """A compressor whose frames say their content size, checksum and dictionary, as every frame of a pack does."""
    from zstandard import ZstdCompressor

    return ZstdCompressor(level=level, dict_data=digested, write_checksum=True, write_content_size=True, write_dict_id=True)


def train(
    entity_type: str, samples: Sequence[bytes], *, size: int = DICTIONARY_BYTES, current: Dictionary | None = None
) -> Dictionary | None:
    """Learn a dictionary from games of one type: always the same one from the same samples.

    A tenth of the samples is held out, and the dictionary must compress these clearly smaller (by 5 %) than the present one
    does. Given samples of recent games and the dictionary in use, this is the test whether that one still fits.

    The training itself, about 0.1 s for 2,000 games of 4 KB, releases the interpreter's lock.

    Args:
        entity_type: whose games these are.
        samples: payloads as they would be compressed; what exceeds 32 MiB in all is not looked at.
        size: the largest size of the dictionary in bytes.
        current: the dictionary in use; None when there is none.

    Returns:
        The dictionary, or None when there are too few samples (under 100) or one would not help.
    """
    from zstandard import ZstdError, train_dictionary

    sums = accumulate(map(len, samples))
    usable = [sample for sample, total in zip(samples, sums, strict=True) if sample and total <= MAX_TRAINING_BYTES]
    held_out = usable[::10]
    taught = [sample for position, sample in enumerate(usable) if position % 10]
    size = min(size, sum(map(len, taught)) // 8)  # more would be to learn the samples by heart
    if len(usable) < MIN_SAMPLES or size < _MIN_DICTIONARY_BYTES:
        return None
    try:
        trained = train_dictionary(size, [*taught], k=_SEGMENT, d=_DMER, split_point=_TAUGHT_SHARE).as_bytes()
    except ZstdError:  # the samples have nothing in common, or are all one and the same
        return None
    dictionary = Dictionary(entity_type, seal(trained))
    return dictionary if _compressed(held_out, dictionary) < _compressed(held_out, current) * _WORTHWHILE else None


def seal(trained: bytes) -> bytes:
    """Give a Zstandard dictionary the id that is derived from its content."""
    return trained[: _ID.start] + _content_id(trained).to_bytes(4, "little") + trained[_ID.stop :]


def dictionary_keys(entity_type: str, dictionary_id: int) -> tuple[str, str]:
    """The two keys under which the two copies of a dictionary are stored."""
    name = f"{entity_type}-{dictionary_id}.zdict"
    return f"{entity_type}/{name}", f"{_SHARED_FOLDER}/{name}"


def parse_dictionary_key(key: str) -> tuple[str, int] | None:
    """The entity type and id of the dictionary that is stored under a key, or None if the key is no dictionary's."""
    match = _KEY.fullmatch(key)
    if match is None or match["folder"] not in (match["type"], _SHARED_FOLDER):
        return None
    return match["type"], int(match["id"])


def _content_id(data: bytes) -> int:
    digest = blake2b(data[: _ID.start] + data[_ID.stop :], digest_size=8).digest()
    return _FREE_IDS[int.from_bytes(digest, "little") % len(_FREE_IDS)]


def _compressed(payloads: Sequence[bytes], dictionary: Dictionary | None) -> int:
    compressor = dictionary.compressor(_TRAINING_LEVEL) if dictionary else new_compressor(_TRAINING_LEVEL)
    return sum(len(compressor.compress(payload)) for payload in payloads)
