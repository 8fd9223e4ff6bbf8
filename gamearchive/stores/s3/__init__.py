"""Objects in a bucket: of Amazon S3, or of any server that speaks its protocol.

Needs boto3 (``pip install 'gamearchive[s3]'``), which finds credentials, region, proxies and certificates its own way: in the
environment, in ``~/.aws``, from the machine's role. None of that is in a URL, in a setting, or in what is shown of a store.

A put is one request, whose checksum the server verifies; above 16 MiB it is one for each part, and the object appears with the
last. What a killed writer had sent of one is collected by `sweep` a day later: only its age tells it from what somebody is
sending now. Reading is one request, of just the range asked for; up to a thousand objects are deleted by one. What the network
or a busy server refuses is tried again, ever more slowly; what is refused for good (403, no such bucket) fails at once and says
what to do.

A bucket may keep versions, lock objects and archive them. An object that is locked is not deleted (`RetainedError`), for what
could be deleted of it is only that it is seen. One that a lifecycle rule has put where it cannot be read at once raises
`ThawingError`, and `thaw` has it brought back.

`store` is the store, `address` the URLs that name one, `refusals` what servers say, `traits` what buckets do beside keeping
objects.
"""

from gamearchive.stores.s3.address import s3_store
from gamearchive.stores.s3.store import PART_BYTES, S3Store

__all__ = ["PART_BYTES", "S3Store", "s3_store"]
