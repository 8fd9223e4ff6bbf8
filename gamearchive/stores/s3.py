"""Objects in a bucket: of Amazon S3, or of any server that speaks its protocol.

Needs boto3 (``pip install 'gamearchive[s3]'``), which finds credentials, region, proxies and certificates its own way: in the
environment, in ``~/.aws``, from the machine's role. None of that is in a URL, in a setting, or in what is shown of a store.

A put is one request, whose checksum the server verifies; above 16 MiB it is one for each part, and the object appears with the
last. What a killed writer had sent of one is collected by `sweep` a day later: only its age tells it from what somebody is
sending now. Reading is one request, of just the range asked for. What the network or a busy server refuses is tried again, ever
more slowly; what is refused for good (403, no such bucket) fails at once and says what to do.

A bucket may keep versions, lock objects and archive them. An object that is locked is not deleted (`RetainedError`), for what
could be deleted of it is only that it is seen. One that a lifecycle rule has put where it cannot be read at once raises
`ThawingError`.
"""

from __future__ import annotations

import difflib
import re
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import md5
from importlib.util import find_spec
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from gamearchive.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    RetainedError,
    StorageUnavailableError,
    ThawingError,
)
from gamearchive.stores.base import Store, StoredObject, check_key, is_key

PART_BYTES = 16 << 20
"""A larger object is sent in parts of this size."""
ATTEMPTS = 6
"""How often a request is made at most, where ``AWS_MAX_ATTEMPTS`` or ``~/.aws`` says nothing else."""
LEFT_BEHIND = timedelta(days=1)
"""A writer that has been sending an object for so long is dead."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_STORAGE_CLASS = re.compile(r"[A-Z][A-Z_]*")
_HOW_TO_NAME = "Write s3://bucket/prefix, and behind a ? what else there is to say: endpoint_url=https://host:port&region=..."
_OPTIONS = ("endpoint_url", "region", "storage_class", "sse", "sse_kms_key_id", "tag")
_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
_HOURS = {"GLACIER": "3 to 5 hours", "DEEP_ARCHIVE": "12 hours", "INTELLIGENT_TIERING": "3 to 12 hours"}
"""The classes that nothing can be read from at once, and how long bringing back takes in the service's standard tier."""

_CREDENTIALS = (
    "Give boto3 good credentials: in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by AWS_PROFILE, in ~/.aws/credentials, or by "
    "the machine's role."
)
_PERMISSIONS = (
    "Allow these credentials s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and s3:GetObject, s3:PutObject, "
    "s3:DeleteObject and s3:AbortMultipartUpload on its objects."
)
_REGION = "Say the bucket's region: add region=... after the ? of the storage's URL, or set AWS_REGION."
_HINTS = {
    "NoSuchBucket": "Make the bucket, or name the right one with --storage.",
    "AccessDenied": _PERMISSIONS,
    "AllAccessDisabled": _PERMISSIONS,
    "403": _PERMISSIONS,  # the answer to HEAD, which has no words
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "RequestTimeTooSkewed": "Set this machine's clock.",
}


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
        _check(_BUCKET.fullmatch(bucket) is not None, f"{bucket!r} is not the name of a bucket.")
        _check(not prefix or is_key(prefix), f"{prefix!r} cannot be what the keys of packs begin with.")
        _check(endpoint_url is None or _is_endpoint(endpoint_url), "The endpoint_url is not of the form https://host:port.")
        _check(sse is None or sse in _ENCRYPTIONS, f"S3 encrypts in no way {sse!r}: {', '.join(_ENCRYPTIONS)} are known.")
        _check(sse_kms_key_id is None or sse != "AES256", "S3 takes a key of KMS with sse=aws:kms, and not with AES256.")
        if storage_class is not None:
            _check(_STORAGE_CLASS.fullmatch(storage_class) is not None, f"{storage_class!r} is not a storage class of S3.")
            if storage_class in _HOURS and storage_class != "INTELLIGENT_TIERING":
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
                if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                if _code(error) != "NotImplemented":
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
            raise self._not_there(key)
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
        until = head.get("ObjectLockRetainUntilDate")
        if until is not None and until > _time_of(head):
            raise RetainedError(f"{key} in {self.url} is retained until {until:%Y-%m-%dT%H:%M:%SZ}.")
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            raise RetainedError(f"{key} in {self.url} is retained until its legal hold is lifted.")
        with self._explained("delete", key):
            self._client.delete_object(**self._object(key))
        return True

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
                        if is_key(each["Key"].removeprefix(self._prefix)) and _time_of(page) - each["Initiated"] > LEFT_BEHIND:
                            swept += self._abort(each["Key"], each["UploadId"])
            except ClientError as error:
                if _code(error) not in ("NotImplemented", "NoSuchUpload"):  # what rclone says where there is none
                    raise
        return swept

    def _abort(self, name: str, upload: str) -> bool:
        """Take away the parts of an object that was never finished; False if somebody else did."""
        from botocore.exceptions import ClientError

        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload)
        except ClientError as error:
            if _code(error) != "NoSuchUpload":
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
            return boto3.Session(botocore_session=session, region_name=self._region).client(
                "s3", endpoint_url=self._endpoint_url, config=config
            )
        except ValueError as error:  # an endpoint or a region, of this store's or of the environment, that is none
            raise ConfigurationError(f"boto3 does not take what it was given: {error}.") from None

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
                    if _code(error) == "InvalidRange":
                        return b""
                    raise
                tries -= 1
                try:
                    return cast("bytes", body.read())
                except (HTTPClientError, IncompleteReadError):
                    if not tries:
                        raise

    @contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        """Turn what boto3 raises into the errors of a store."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in ("NoSuchKey", "404"):
                raise self._not_there(key) from None
            if code == "InvalidObjectState":
                raise self._thawing(key) from None
            said = error.response.get("Error", {}).get("Message") or "no reason given"
            raise StorageUnavailableError(
                f"{self.url} did not {action} {key}: {said.rstrip('.')} ({code}).", hint=_HINTS.get(code)
            ) from error
        except BotoCoreError as error:
            hint = _CREDENTIALS if re.search("Credential|Token|Profile", type(error).__name__) else None
            said = str(error).rstrip(".")
            raise StorageUnavailableError(f"{self.url} could not {action} {key}: {said}.", hint=hint) from error

    def _not_there(self, key: str) -> NotFoundError:
        return NotFoundError(f"There is no object {key} in {self.url}")

    def _thawing(self, key: str) -> ThawingError:
        head = self._head(key) or {}
        where = head.get("StorageClass", "GLACIER")
        hours = _HOURS.get(where, "hours")
        if 'ongoing-request="true"' in head.get("Restore", ""):
            return ThawingError(
                f"{key} in {self.url} is being brought back from {where}: {hours} after that was asked for, it can be read."
            )
        name = f"--bucket {self._bucket} --key {self._prefix}{key}"
        return ThawingError(
            f"{key} in {self.url} lies in {where}, and cannot be read before it is brought back, which takes {hours}.",
            hint=f"Ask for it, and read it then: `aws s3api restore-object {name} --restore-request Days=7`.",
        )


def s3_store(url: str) -> S3Store:
    """The store at ``s3://bucket/prefix?endpoint_url=...``: the arguments of `S3Store`, and ``tag=NAME=VALUE`` for its tags.

    Raises:
        ConfigurationError: if the URL is not of this form. It is not repeated: people put secrets into URLs.
    """
    try:
        parts = urlsplit(url)
        bucket, prefix = parts.netloc, unquote(parts.path, errors="strict")
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
    except ValueError:
        raise ConfigurationError("The storage's URL is not one of S3.", hint=_HOW_TO_NAME) from None
    if "@" in bucket:
        raise ConfigurationError("The storage's URL has credentials in it, and they do not belong there.", hint=_CREDENTIALS)
    _check(not parts.fragment, "The storage's URL has a # in it, which names nothing on S3.")
    options: dict[str, str] = {}
    tags: dict[str, str] = {}
    for name, value in query:
        if name not in _OPTIONS:
            nearest = difflib.get_close_matches(name, _OPTIONS, n=1, cutoff=0)[0]
            raise ConfigurationError(
                f"`{name}` in the storage's URL is not an option of S3; the nearest is `{nearest}`.",
                hint=f"Known here: {', '.join(_OPTIONS)}. Credentials never stand in a URL.",
            )
        _check(bool(value) and name not in options, f"`{name}` in the storage's URL is empty, or there twice.")
        if name == "tag":
            tag, equals, text = value.partition("=")
            _check(bool(tag and equals) and tag not in tags, "A tag in the storage's URL is not NAME=VALUE, or there twice.")
            tags[tag] = text
        else:
            options[name] = value
    return S3Store(bucket, prefix, tags=tags, **options)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigurationError(otherwise, hint=_HOW_TO_NAME)


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in url and not parts.query
    except ValueError:
        return False


def _md5(data: bytes) -> str:
    """The checksum that a server holds what it got against."""
    return b64encode(md5(data, usedforsecurity=False).digest()).decode()


def _code(error: Any) -> str:
    """What a server calls its refusal."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _time_of(answer: Mapping[str, Any]) -> datetime:
    """When the server gave an answer, by its own clock; where it does not say, so early that nothing is old or over."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.min.replace(tzinfo=UTC)
