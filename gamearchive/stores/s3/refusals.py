"""What S3, and boto3 on the way there, refuse: turned into the errors of a store, with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gamearchive.errors import ConfigurationError, NotFoundError, StorageUnavailableError

CREDENTIALS = (
    "Give boto3 good credentials: in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by AWS_PROFILE, in ~/.aws/credentials, or by "
    "the machine's role."
)
HOW_TO_NAME = "Write s3://bucket/prefix, and behind a ? what else there is to say: endpoint_url=https://host:port&region=..."

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
    "InvalidAccessKeyId": CREDENTIALS,
    "SignatureDoesNotMatch": CREDENTIALS,
    "ExpiredToken": CREDENTIALS,
    "InvalidToken": CREDENTIALS,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "RequestTimeTooSkewed": "Set this machine's clock.",
}


@contextmanager
def explained(where: str, action: str, key: str) -> Iterator[None]:
    """Turn what boto3 raises into the errors of a store.

    Args:
        where: the store's URL.
        action: what is being done, such as ``read``.
        key: to which object.
    """
    from botocore.exceptions import BotoCoreError, ClientError, SSLError

    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in ("NoSuchKey", "404"):
            raise not_there(where, key) from None
        raise refused(where, action, key, error.response.get("Error", {})) from error
    except BotoCoreError as error:
        hint = CREDENTIALS if re.search("Credential|Token|Profile", type(error).__name__) else None
        if isinstance(error, SSLError):
            hint = "If the server's certificate is your own, name the file of who signed it: AWS_CA_BUNDLE=/path/to/ca.pem."
        said = str(error).rstrip(".")
        raise StorageUnavailableError(f"{where} could not {action} {key}: {said}.", hint=hint) from error


def refused(where: str, action: str, key: str, error: Any) -> StorageUnavailableError:
    """The error for what a server says of one object: its ``Code`` and ``Message``."""
    code, said = error.get("Code", "unknown"), error.get("Message") or "no reason given"
    return StorageUnavailableError(f"{where} did not {action} {key}: {said.rstrip('.')} ({code}).", hint=_HINTS.get(code))


def not_there(where: str, key: str) -> NotFoundError:
    """The error for an object that is not there."""
    return NotFoundError(f"There is no object {key} in {where}")


def code_of(error: Any) -> str:
    """What a server calls its refusal."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def check(holds: bool, otherwise: str) -> None:
    """Make sure of what a store is made with.

    Raises:
        ConfigurationError: if it does not hold.
    """
    if not holds:
        raise ConfigurationError(otherwise, hint=HOW_TO_NAME)
