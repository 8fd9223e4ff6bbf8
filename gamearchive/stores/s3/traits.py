"""What buckets do with objects beside keeping them: lock them, archive them, keep versions; as servers' answers tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from gamearchive.stores.s3.refusals import code_of

HOURS = {"GLACIER": "3 to 5 hours", "DEEP_ARCHIVE": "12 hours", "INTELLIGENT_TIERING": "3 to 12 hours"}
"""The classes that nothing can be read from at once, and how long bringing back takes in the service's standard tier."""

_UNKNOWN_THERE = ("NotImplemented", "MethodNotAllowed", "ObjectLockConfigurationNotFoundError", "InvalidRequest")


class Frozen(NamedTuple):
    """An object that cannot be read: the class it lies in, how long bringing back takes, and whether that was asked for."""

    where: str
    hours: str
    coming: bool


def frozen(head: Mapping[str, Any]) -> Frozen | None:
    """What keeps an object from being read at once; None if nothing does."""
    where, restore = head.get("StorageClass", "STANDARD"), head.get("Restore", "")
    if where == "INTELLIGENT_TIERING" and "ArchiveStatus" not in head and not restore:
        return None
    if where not in HOURS or 'ongoing-request="false"' in restore:
        return None
    return Frozen(where, HOURS[where], 'ongoing-request="true"' in restore)


def retained(head: Mapping[str, Any]) -> str | None:
    """How long an object is locked; None if it is not."""
    until = head.get("ObjectLockRetainUntilDate")
    if until is not None and until > time_of(head):
        return f"until {until:%Y-%m-%dT%H:%M:%SZ}"
    return "until its legal hold is lifted" if head.get("ObjectLockLegalHoldStatus") == "ON" else None


def locks(client: Any, bucket: str) -> bool:
    """Whether there can be locked objects in a bucket; so it is taken to be where the server does not let that be known."""
    from botocore.exceptions import ClientError

    try:
        answer = client.get_object_lock_configuration(Bucket=bucket)
    except ClientError as error:
        return code_of(error) not in _UNKNOWN_THERE
    return _is_on(answer)


def describe(client: Any, bucket: str, head: Mapping[str, Any]) -> dict[str, str]:
    """What there is to know of a bucket, and of an object that was put into it with the store's own options."""
    return {
        "versions": _told(lambda: _versions(client.get_bucket_versioning(Bucket=bucket))),
        "object-lock": _told(lambda: _lock(client.get_object_lock_configuration(Bucket=bucket)), unknown="none"),
        "storage-class": head.get("StorageClass", "STANDARD"),
        "encryption": head.get("ServerSideEncryption", "none that the server tells of"),
    }


def _told(ask: Callable[[], str], unknown: str = "the server knows nothing of that") -> str:
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as error:
        code = code_of(error)
        return unknown if code in _UNKNOWN_THERE else f"not told: {code}"


def _versions(answer: Mapping[str, Any]) -> str:
    if answer.get("Status") == "Enabled":
        return "kept: what is deleted is hidden, and takes room until a lifecycle rule of the bucket's takes it"
    return "not kept"


def _is_on(answer: Mapping[str, Any]) -> bool:
    """Whether that is an answer; rclone answers with a listing."""
    return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")


def _lock(answer: Mapping[str, Any]) -> str:
    if not _is_on(answer):
        return "none"
    rule = answer["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention")
    if rule is None:
        return "on, and nothing is locked by default"
    term = f"{rule['Days']} days" if "Days" in rule else f"{rule['Years']} years"
    return f"on: what is put is locked for {term} ({rule['Mode']}), and cannot be compacted or expire before"


def time_of(answer: Mapping[str, Any]) -> datetime:
    """When the server gave an answer, by its own clock; where it does not say, so early that nothing is old or over."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.min.replace(tzinfo=UTC)
