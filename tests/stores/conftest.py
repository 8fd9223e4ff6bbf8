"""Stores on S3 that are closed when the test ends, and servers that say what is written for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from s3_servers import S3Server, Scripted

from gamearchive.stores.s3 import S3Store


@pytest.fixture
def open_store() -> Iterator[Callable[..., S3Store]]:
    """Opens stores on a server, which are closed when the test ends."""
    stores: list[S3Store] = []

    def open_on(server: S3Server, bucket: str, prefix: str = "", **how: Any) -> S3Store:
        stores.append(S3Store(bucket, prefix, endpoint_url=server.endpoint_url, **how))
        return stores[-1]

    yield open_on
    for store in stores:
        store.close()


@pytest.fixture
def scripted(s3_environment: None) -> Iterator[Callable[..., Scripted]]:
    """Starts scripted servers."""
    servers: list[Scripted] = []

    def start(**answers: list[tuple[int, dict[str, str], bytes]]) -> Scripted:
        servers.append(Scripted(**answers))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
