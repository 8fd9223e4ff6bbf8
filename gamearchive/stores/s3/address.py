"""The URLs that name stores on S3."""

from __future__ import annotations

import difflib
from urllib.parse import parse_qsl, unquote, urlsplit

from gamearchive.errors import ConfigurationError
from gamearchive.stores.s3.refusals import CREDENTIALS, HOW_TO_NAME, check
from gamearchive.stores.s3.store import S3Store

_OPTIONS = ("endpoint_url", "region", "storage_class", "sse", "sse_kms_key_id", "tag")


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
        raise ConfigurationError("The storage's URL is not one of S3.", hint=HOW_TO_NAME) from None
    if "@" in bucket:
        raise ConfigurationError("The storage's URL has credentials in it, and they do not belong there.", hint=CREDENTIALS)
    check(not parts.fragment, "The storage's URL has a # in it, which names nothing on S3.")
    options: dict[str, str] = {}
    tags: dict[str, str] = {}
    for name, value in query:
        if name not in _OPTIONS:
            nearest = difflib.get_close_matches(name, _OPTIONS, n=1, cutoff=0)[0]
            raise ConfigurationError(
                f"`{name}` in the storage's URL is not an option of S3; the nearest is `{nearest}`.",
                hint=f"Known here: {', '.join(_OPTIONS)}. Credentials never stand in a URL.",
            )
        check(bool(value) and name not in options, f"`{name}` in the storage's URL is empty, or there twice.")
        if name == "tag":
            tag, equals, text = value.partition("=")
            check(bool(tag and equals) and tag not in tags, "A tag in the storage's URL is not NAME=VALUE, or there twice.")
            tags[tag] = text
        else:
            options[name] = value
    return S3Store(bucket, prefix, tags=tags, **options)
