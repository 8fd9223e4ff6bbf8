"""Game files in, game records out: files, folders and standard input, in JSON, in PGN, or of whatever format.

`read_source` is the door. `Reader` is what a reader of another format is made from; see `gamearchive.readers.base`.
"""

from gamearchive.readers.base import ReadContext, Reader, ReadOptions, is_derived
from gamearchive.readers.sources import read_source
from gamearchive.readers.streams import ByteStream

__all__ = ["ByteStream", "ReadContext", "ReadOptions", "Reader", "is_derived", "read_source"]
