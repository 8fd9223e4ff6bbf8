"""The store in a bucket."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from hashlib import md5
from importlib.util import find_spec
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from gamearchive.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    RetainedError,
    StorageUnavailableError,
    ThawingError,
)
from gamearchive.stores.base import Store, StoredObject, check_key, is_key
from gamearchive.stores.s3.refusals import check, code_of, explained, not_there, refused
from gamearchive.stores.s3.traits import HOURS, describe, frozen, locks, retained, time_of

PART_BYTES = 16 << 20
"""A larger object is sent in parts of this size."""
ATTEMPTS = 6
"""How often a request is made at most, where ``AWS_MAX_ATTEMPTS`` or ``~/.aws`` says nothing else."""
LEFT_BEHIND = timedelta(days=1)
"""A writer that has been sending an object for so long is dead."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_STORAGE_CLASS = re.compile(r"[A-Z][A-Z_]*")
_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
_MOST_DELETED = 1000  # by one request
_LOOKING = 8  # threads


class S3Store(Store):
    """A store in a bucket, or below a prefix of it.

    Args:
        bucket: its name. The bucket is there already.
        prefix: what all keys begin with, before a ``/``; nothing for the whole bucket.
        endpoint_url: the server, such as ``https://minio.example.org:9000``; boto3's own choice if None.
        region: the bucket's; boto3's own choice if None.
        storage_class: of what is put, such as ``STANDARD_IA``; the bucket's own if None.
        sse: how the server is to encrypt: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``; the bucket's own way if None.
        sse_kms_key_id: the key for that.
        tags: of the objects that are put.

    Raises:
        ConfigurationError: if one of these is none, or boto3 is not installed.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        storage_class: str | None = None,
        sse: str | None = None,
        sse_kms_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if find_spec("boto3") is None:
            raise ConfigurationError(
                "S3 needs the package boto3, which is not installed.", hint="Install it with `pip install 'gamearchive[s3]'`."
            )
        prefix = prefix.strip("/")
        check(_BUCKET.fullmatch(bucket) is not None, f"{bucket!r} is not the name of a bucket.")
        check(not prefix or is_key(prefix), f"{prefix!r} cannot be what the keys of packs begin with.")
        check(endpoint_url is None or _is_endpoint(endpoint_url), "The endpoint_url is not of the form https://host:port.")
        check(sse is None or sse in _ENCRYPTIONS, f"S3 encrypts in no way {sse!r}: {', '.join(_ENCRYPTIONS)} are known.")
        check(sse_kms_key_id is None or sse != "AES256", "S3 takes a key of KMS with sse=aws:kms, and not with AES256.")
        if storage_class is not None:
            check(_STORAGE_CLASS.fullmatch(storage_class) is not None, f"{storage_class!r} is not a storage class of S3.")
            if storage_class in HOURS and storage_class != "INTELLIGENT_TIERING":
                raise ConfigurationError(
                    f"What is put into {storage_class} cannot be read back at once, before which no game counts as archived.",
                    hint="Choose another storage_class, such as GLACIER_IR; a lifecycle rule may move packs later.",
                )
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint_url = endpoint_url
        self._region = region
        made_with = {
            "StorageClass": storage_class,
            "ServerSideEncryption": sse or (sse_kms_key_id and "aws:kms"),
            "SSEKMSKeyId": sse_kms_key_id,
            "Tagging": urlencode(tags) if tags else None,
        }
        self._made_with = {name: value for name, value in made_with.items() if value is not None}
        self._lock = threading.Lock()
        self._opened: Any = None  # boto3 makes the classes of its clients as it runs: they have no types

    @property
    def url(self) -> str:
        where = f"?endpoint_url={quote(self._endpoint_url, safe=':/')}" if self._endpoint_url else ""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/") + where

    def put(self, key: str, data: bytes) -> None:
        check_key(key)
        if len(data) > PART_BYTES:
            self._put_parts(key, data)
            return
        with self._explained("store", key):
            self._client.put_object(**self._object(key), Body=data, ContentMD5=_md5(data), **self._made_with)

    def _put_parts(self, key: str, data: bytes) -> None:
        with self._explained("store", key):
            client, target = self._client, self._object(key)
            upload = {**target, "UploadId": client.create_multipart_upload(**target, **self._made_with)["UploadId"]}
            try:
                parts = []
                for number, start in enumerate(range(0, len(data), PART_BYTES), 1):
                    part = data[start : start + PART_BYTES]
                    sent = client.upload_part(**upload, PartNumber=number, Body=part, ContentMD5=_md5(part))
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
                client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            except BaseException:
                with suppress(StorageUnavailableError, NotFoundError), self._explained("clear away", key):
                    client.abort_multipart_upload(**upload)
                raise

    def put_new(self, key: str, data: bytes) -> bool:
        # Not every server knows the condition: what is there already is found out by asking as well.
        while self.size(key) is None:
            if self._put_first(key, data):
                return True
        return False

    def _put_first(self, key: str, data: bytes) -> bool:
        """Store an object if the server finds none; False if somebody was faster, or is about to be."""
        from botocore.exceptions import ClientError

        arguments = {**self._object(key), "Body": data, "ContentMD5": _md5(data), **self._made_with}
        with self._explained("store", key):
            try:
                self._client.put_object(**arguments, IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                if code_of(error) != "NotImplemented":
                    raise
                self._client.put_object(**arguments)
        return True

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        if offset == 0 and length is None:
            return self._read(key)
        if offset >= 0 and length != 0:
            last = "" if length is None else offset + length - 1
            data = self._read(key, Range=f"bytes={offset}-{last}")
            if data and length in (None, len(data)):
                return data
        size = self.size(key)  # an empty range cannot be asked for, and one past the end is told from a range at the end
        if size is None:
            raise not_there(self.url, key)
        if length in (0, None) and 0 <= offset <= size:
            return b""
        end = "the end" if length is None else offset + length
        raise IntegrityError(f"{key} in {self.url} has {size} bytes, and bytes {offset} to {end} were asked for.")

    def size(self, key: str) -> int | None:
        head = self._head(check_key(key))
        return None if head is None else int(head["ContentLength"])

    def delete(self, key: str) -> bool:
        head = self._head(check_key(key))
        if head is None:
            return False
        kept = retained(head)
        if kept is not None:
            raise RetainedError(self._retained(key, kept))
        with self._explained("delete", key):
            self._client.delete_object(**self._object(key))
        return True

    def delete_many(self, keys: Iterable[str]) -> dict[str, str]:
        waiting, kept = iter(keys), dict[str, str]()
        with self._explained("look at", "locks"):
            locked = locks(self._client, self._bucket)
        with ThreadPoolExecutor(_LOOKING) as pool:
            while chunk := [check_key(key) for key in islice(waiting, _MOST_DELETED)]:
                for key, head in zip(chunk, pool.map(self._head, chunk), strict=True) if locked else ():
                    until = retained(head) if head is not None else None
                    if until is not None:
                        kept[key] = self._retained(key, until)
                self._delete([key for key in chunk if key not in kept])
        return kept

    def _delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        objects = [{"Key": self._prefix + key} for key in keys]
        with self._explained("delete", f"{keys[0]} and others"):
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":
                raise refused(self.url, "delete", error["Key"].removeprefix(self._prefix), error)

    def _retained(self, key: str, until: str) -> str:
        return f"{key} in {self.url} is retained {until}."

    def thaw(self, key: str, days: int) -> str | None:
        head = self._head(check_key(key))
        if head is None:
            raise not_there(self.url, key)
        cold = frozen(head)
        if cold is None:
            return None
        if not cold.coming:
            # What tiers itself stays where it was brought to, and takes neither days nor a tier.
            how = {} if cold.where == "INTELLIGENT_TIERING" else {"Days": days, "GlacierJobParameters": {"Tier": "Standard"}}
            self._bring_back(key, how)
        return cold.hours

    def _bring_back(self, key: str, how: Mapping[str, Any]) -> None:
        from botocore.exceptions import ClientError

        with self._explained("bring back", key):
            try:
                self._client.restore_object(**self._object(key), RestoreRequest=how)
            except ClientError as error:
                if code_of(error) != "RestoreAlreadyInProgress":
                    raise

    def describe(self, key: str) -> dict[str, str]:
        self.put(key, b"noted")
        with self._explained("look at", key):
            facts = describe(self._client, self._bucket, self._client.head_object(**self._object(key)))
            encrypted = self._client.meta.endpoint_url.startswith("https:")
        return {
            **facts,
            "checksums": "verified by the server" if self._verifies(key) else "not verified; packs are read back all the same",
            "connection": "encrypted" if encrypted else "not encrypted: whoever is in between reads and alters what goes there",
        }

    def _verifies(self, key: str) -> bool:
        """Whether the server holds what it gets against the checksum that comes with it."""
        from botocore.exceptions import ClientError

        with self._explained("store", key):
            try:
                self._client.put_object(**self._object(key), Body=b"these", ContentMD5=_md5(b"others"))
            except ClientError as error:
                if code_of(error) not in ("BadDigest", "InvalidDigest"):
                    raise
                return True
        return False

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        before = ""
        with self._explained("list", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self._prefix)
                    if not is_key(key) or not key.startswith(prefix) or key == before:
                        continue  # none of ours, or one that rclone lists twice, having been sent it twice at one moment
                    if key < before:  # whoever compares a listing with the catalog would take packs for lost
                        raise StorageUnavailableError(
                            f"{self.url} lists {key} after {before}, and not in the order of keys.",
                            hint="Use a bucket, or a server, that lists in order, as general-purpose buckets do.",
                        )
                    before = key
                    yield StoredObject(key, each["Size"])

    def sweep(self) -> int:
        from botocore.exceptions import ClientError

        swept = 0
        with self._explained("clear away", "unfinished uploads"):
            uploads = self._client.get_paginator("list_multipart_uploads")
            try:
                for page in uploads.paginate(Bucket=self._bucket, Prefix=self._prefix):
                    for each in page.get("Uploads", ()):
                        if is_key(each["Key"].removeprefix(self._prefix)) and time_of(page) - each["Initiated"] > LEFT_BEHIND:
                            swept += self._abort(each["Key"], each["UploadId"])
            except ClientError as error:
                if code_of(error) not in ("NotImplemented", "NoSuchUpload"):  # what rclone says where there is none
                    raise
        return swept

    def _abort(self, name: str, upload: str) -> bool:
        """Take away the parts of an object that was never finished; False if somebody else did."""
        from botocore.exceptions import ClientError

        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload)
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            return False
        return True

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def _client(self) -> Any:
        """The connection, made when it is first needed: importing boto3 takes longer than most commands."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.get_session()
        attempts = session.get_config_variable("max_attempts") or ATTEMPTS
        config = Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=10,
            read_timeout=60,
            # Content-MD5, that every server verifies, stands in for newer checksums, that some refuse; and some answer a range
            # with the whole object's.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            client = boto3.Session(botocore_session=session, region_name=self._region).client(
                "s3", endpoint_url=self._endpoint_url, config=config
            )
        except ValueError as error:  # an endpoint or a region, of this store's or of the environment, that is none
            raise ConfigurationError(f"boto3 does not take what it was given: {error}.") from None
        client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
        return client

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _head(self, key: str) -> Mapping[str, Any] | None:
        """What the server says of an object; None if there is none."""
        try:
            with self._explained("look at", key):
                return cast("Mapping[str, Any]", self._client.head_object(**self._object(key)))
        except NotFoundError:
            pass
        with suppress(NotFoundError):
            # That answer has no words: a missing bucket is told from a missing object by asking for the object itself.
            self._read(key, Range="bytes=0-0")
        return None

    def _read(self, key: str, **how: str) -> bytes:
        """An object's bytes, read anew where the connection breaks off; for a range that begins past the end, none."""
        from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

        tries = 3
        with self._explained("read", key):
            while True:
                try:
                    body = self._client.get_object(**self._object(key), **how)["Body"]
                except ClientError as error:
                    if code_of(error) == "InvalidRange":
                        return b""
                    if code_of(error) == "InvalidObjectState":
                        raise self._thawing(key) from None
                    raise
                tries -= 1
                try:
                    return cast("bytes", body.read())
                except (HTTPClientError, IncompleteReadError):
                    if not tries:
                        raise

    def _explained(self, action: str, key: str) -> AbstractContextManager[None]:
        return explained(self.url, action, key)

    def _thawing(self, key: str) -> ThawingError:
        cold = frozen(self._head(key) or {})
        if cold is not None and cold.coming:
            said = f"is being brought back from {cold.where}: {cold.hours} after that was asked for, it can be read."
            return ThawingError(f"{key} in {self.url} {said}")
        where, hours = (cold.where, cold.hours) if cold else ("an archived class", "hours")
        return ThawingError(
            f"{key} in {self.url} lies in {where}, and cannot be read before it is brought back, which takes {hours}.",
            hint="Have what you need of it brought back: add --thaw to `gamearchive restore`.",
        )


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in url and not parts.query
    except ValueError:
        return False


def _md5(data: bytes) -> str:
    """The checksum that a server holds what it got against."""
    return b64encode(md5(data, usedforsecurity=False).digest()).decode()


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """Give a request whose checksum boto3 chooses the one that every server knows as well."""
    params["headers"]["Content-MD5"] = _md5(params["body"])
