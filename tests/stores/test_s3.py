"""The store in a bucket: its contract, what a server may refuse or suffer, and what a bucket may do with its objects."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import conftest
import pytest
from s3_servers import Moto, Rclone, S3Server, Scripted, boto3_environment, refusal, requests_of

from gamearchive.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    RetainedError,
    StorageUnavailableError,
    ThawingError,
)
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.registry import store_from_url
from gamearchive.stores.s3 import PART_BYTES, S3Store
from gamearchive.testing import StoreTests


class TestS3Store(StoreTests):
    @pytest.fixture(autouse=True)
    def _buckets(self, rclone: Rclone) -> None:
        self.server = rclone
        self.buckets: dict[Path, str] = {}

    def open(self, folder: Path) -> Store:
        if folder not in self.buckets:
            self.buckets[folder] = self.server.new_bucket()
        return S3Store(self.buckets[folder], endpoint_url=self.server.endpoint_url)

    def plant(self, store: Store, key: str, data: bytes) -> None:
        self.server.client.put_object(Bucket=next(iter(self.buckets.values())), Key=key, Body=data)

    def peek(self, store: Store, key: str) -> bytes | None:
        return self.server.peek(next(iter(self.buckets.values())), key)


Open = Callable[..., S3Store]


def uploads(server: S3Server, bucket: str) -> list[str]:
    """The objects that are half sent."""
    try:
        return [each["Key"] for each in server.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    except server.client.exceptions.NoSuchUpload:  # rclone's way to say that there is none
        return []


def test_stores_below_prefixes_of_one_bucket_are_apart(rclone: Rclone, open_store: Open) -> None:
    bucket = rclone.new_bucket()
    one, other, whole = (open_store(rclone, bucket, prefix) for prefix in ("one", "one/other", ""))
    one.put("a/b", b"1")
    other.put("a/b", b"22")
    assert (one.get("a/b"), other.get("a/b")) == (b"1", b"22")
    assert list(other.list()) == [StoredObject("a/b", 2)]
    assert [key for key, _ in whole.list()] == ["one/a/b", "one/other/a/b"]
    assert one.url == f"s3://{bucket}/one?endpoint_url={rclone.endpoint_url}"
    other.delete("a/b")
    assert one.size("a/b") == 1


def test_a_listing_of_more_than_a_page_is_whole_and_in_order(rclone: Rclone, open_store: Open) -> None:
    bucket = rclone.new_bucket()
    keys = [f"game/{number:04}" for number in range(1203)]
    for key in keys:  # as they lie on rclone's disk: that many puts would take their time
        path = rclone.folder / bucket / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert [key for key, _ in open_store(rclone, bucket).list("game/")] == keys


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5])
def test_a_large_object_goes_in_parts_and_comes_back_as_it_was(rclone: Rclone, open_store: Open, size: int) -> None:
    bucket = rclone.new_bucket()
    store = open_store(rclone, bucket)
    sent = requests_of(store)
    data = bytes(range(251)) * (size // 251 + 1)
    store.put("a/large", data[:size])
    assert rclone.peek(bucket, "a/large") == data[:size]
    assert store.get("a/large", PART_BYTES - 3) == data[PART_BYTES - 3 : size]
    assert sent[:-1] == (["PutObject"] if size == PART_BYTES else
                    ["CreateMultipartUpload", *["UploadPart"] * -(-size // PART_BYTES), "CompleteMultipartUpload"])  # fmt: skip
    assert uploads(rclone, bucket) == []


def test_a_pack_is_one_request_and_a_game_in_it_is_one(rclone: Rclone, open_store: Open) -> None:
    store = open_store(rclone, rclone.new_bucket())
    asked = requests_of(store)
    store.put("a", b"0123456789")
    store.get("a", 3, 4)
    assert asked == ["PutObject", "GetObject"]


@pytest.mark.parametrize("size", [10, PART_BYTES + 10], ids=["whole", "parts"])
def test_bytes_that_change_on_their_way_are_refused_by_the_server(rclone: Rclone, open_store: Open, size: int) -> None:
    bucket = rclone.new_bucket()
    store = open_store(rclone, bucket)

    def alter(request: Any, **_: object) -> None:
        request.data = BytesIO(b"!" + request.data.read()[1:])

    for operation in ("PutObject", "UploadPart"):
        store._client.meta.events.register(f"request-created.s3.{operation}", alter)
    with pytest.raises(StorageUnavailableError, match="BadDigest"):
        store.put("a", b"x" * size)
    assert (rclone.peek(bucket, "a"), uploads(rclone, bucket)) == (None, [])


def test_an_upload_that_is_broken_off_leaves_nothing(moto: Moto, open_store: Open) -> None:
    bucket = moto.new_bucket()
    store = open_store(moto, bucket)
    parts = itertools.count()

    def interrupt(**_: object) -> None:
        if next(parts) == 1:
            assert uploads(moto, bucket) == ["a"]
            raise KeyboardInterrupt

    store._client.meta.events.register("before-call.s3.UploadPart", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put("a", bytes(PART_BYTES * 2))
    assert (uploads(moto, bucket), store.size("a")) == ([], None)


def test_sweep_takes_the_uploads_of_writers_long_dead_and_no_others(moto: Moto, rclone: Rclone, open_store: Open) -> None:
    old, young = moto.new_bucket(), rclone.new_bucket()  # moto's uploads are all of 2010
    for server, bucket in ((moto, old), (rclone, young)):
        for name in ("packs/game/a", "packs/game/b", "else/game/a"):
            server.client.create_multipart_upload(Bucket=bucket, Key=name)
    store = open_store(moto, old, "packs")
    store.put("game/c", b"kept")
    assert (store.sweep(), store.sweep()) == (2, 0)
    assert uploads(moto, old) == ["else/game/a"]
    assert list(store.list()) == [StoredObject("game/c", 4)]
    assert open_store(rclone, young, "packs").sweep() == 0
    assert len(uploads(rclone, young)) == 3


def test_of_many_who_put_what_is_not_there_one_succeeds(moto: Moto, open_store: Open) -> None:
    store = open_store(moto, moto.new_bucket())
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda number: store.put_new("contested", b"%d" % number), range(12)))
    assert won.count(True) == 1
    assert store.get("contested") == b"%d" % won.index(True)


def test_a_missing_bucket_is_told_from_a_missing_object(rclone: Rclone, open_store: Open) -> None:
    store = open_store(rclone, "nonesuch")
    calls: list[Callable[[], object]] = [
        lambda: store.put("a", b""),
        lambda: store.put_new("a", b""),
        lambda: store.get("a"),
        lambda: store.size("a"),
        lambda: store.delete("a"),
        lambda: list(store.list()),
    ]
    for call in calls:
        with pytest.raises(StorageUnavailableError, match="NoSuchBucket") as caught:
            call()
        assert caught.value.hint.startswith("Make the bucket")


@pytest.fixture
def own_rclone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rclone]:
    """A server to be maltreated. What fails is tried once more."""
    for name, value in boto3_environment(AWS_MAX_ATTEMPTS="2").items():
        monkeypatch.setenv(name, value)
    server = conftest.start("S3", Rclone)
    yield server
    server.stop()


def test_a_server_that_is_killed_in_the_middle_of_an_upload(own_rclone: Rclone, open_store: Open) -> None:
    bucket = own_rclone.new_bucket()
    store = open_store(own_rclone, bucket)
    store.put("a", b"before")
    parts = itertools.count()

    def kill(**_: object) -> None:
        if next(parts) == 1:
            own_rclone.kill()

    store._client.meta.events.register("before-call.s3.UploadPart", kill)
    data = bytes(range(250)) * (PART_BYTES // 100)
    with pytest.raises(StorageUnavailableError):
        store.put("b", data)
    with pytest.raises(StorageUnavailableError):
        store.get("a")
    own_rclone.start()
    assert list(store.list()) == [StoredObject("a", 6)]
    assert (store.get("a"), store.size("b"), store.sweep()) == (b"before", None, 0)
    store.put("b", data)
    assert store.get("b") == data


def test_a_server_that_stands_still_for_a_while(own_rclone: Rclone, open_store: Open) -> None:
    store = open_store(own_rclone, own_rclone.new_bucket())
    store.put("a", b"before")
    own_rclone.freeze()
    threading.Timer(1, own_rclone.go_on).start()
    store.put("b", b"meanwhile")
    assert (store.get("a"), store.get("b")) == (b"before", b"meanwhile")


def test_a_server_that_is_slow(s3_environment: None, open_store: Open) -> None:
    server = conftest.start("S3", lambda: Rclone("--bwlimit", "3M"))
    try:
        store = open_store(server, server.new_bucket())
        data = bytes(range(200)) * 25_000
        store.put("a", data)
        assert store.get("a") == data
    finally:
        server.stop()


def test_a_server_that_is_full(own_rclone: Rclone, open_store: Open) -> None:
    bucket = own_rclone.new_bucket()
    store = open_store(own_rclone, bucket)
    own_rclone.limit_file_size(100_000)
    for size in (200_000, PART_BYTES + 1):
        with pytest.raises(StorageUnavailableError, match="store game/a"):
            store.put("game/a", bytes(size))
        assert store.size("game/a") is None
    store.put("game/a", b"small")
    own_rclone.limit_file_size(-1)
    store.put("game/b", bytes(200_000))
    assert list(store.list()) == [StoredObject("game/a", 5), StoredObject("game/b", 200_000)]


def test_what_objects_are_made_with(moto: Moto, open_store: Open) -> None:
    bucket = moto.new_bucket()
    how = {"storage_class": "STANDARD_IA", "sse_kms_key_id": "key-1", "tags": {"team": "games and co: a+b", "env": "test"}}
    store = open_store(moto, bucket, **how)
    store.put("small", b"1")
    store.put("large", bytes(PART_BYTES + 1))
    store.put_new("new", b"2")
    for key in ("small", "large", "new"):
        head = moto.client.head_object(Bucket=bucket, Key=key)
        made = (head["StorageClass"], head["ServerSideEncryption"], head["SSEKMSKeyId"].rpartition("/")[2])
        assert made == ("STANDARD_IA", "aws:kms", "key-1")
        tags = moto.client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "games and co: a+b", "env": "test"}


def test_a_bucket_that_keeps_versions(moto: Moto, open_store: Open) -> None:
    bucket = moto.new_bucket()
    moto.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = open_store(moto, bucket)
    for data in (b"first", b"second", b"second"):
        store.put("a", data)
    assert (store.get("a"), list(store.list())) == (b"second", [StoredObject("a", 6)])
    assert (store.delete("a"), store.delete("a"), store.size("a"), list(store.list())) == (True, False, None, [])
    with pytest.raises(NotFoundError):
        store.get("a")
    assert len(moto.client.list_object_versions(Bucket=bucket)["Versions"]) == 3


def test_a_locked_object_is_retained(moto: Moto, open_store: Open) -> None:
    bucket = moto.new_bucket(ObjectLockEnabledForBucket=True)
    store = open_store(moto, bucket)
    until = datetime(2099, 3, 4, 5, 6, 7, tzinfo=UTC)
    for key in ("locked", "held", "free"):
        store.put(key, b"1")
    moto.client.put_object_retention(
        Bucket=bucket, Key="locked", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}, BypassGovernanceRetention=True
    )
    moto.client.put_object_legal_hold(Bucket=bucket, Key="held", LegalHold={"Status": "ON"})
    with pytest.raises(RetainedError, match="retained until 2099-03-04T05:06:07Z"):
        store.delete("locked")
    with pytest.raises(RetainedError, match="legal hold"):
        store.delete("held")
    assert store.delete("free") is True
    assert [key for key, _ in store.list()] == ["held", "locked"]
    moto.client.put_object_legal_hold(Bucket=bucket, Key="held", LegalHold={"Status": "OFF"})
    soon = datetime.now(UTC) + timedelta(seconds=1)
    moto.client.put_object_retention(Bucket=bucket, Key="held", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon})
    time.sleep(2.1)  # the server tells the time in whole seconds
    assert store.delete("held") is True


@pytest.mark.parametrize(("where", "hours"), [("GLACIER", "3 to 5 hours"), ("DEEP_ARCHIVE", "12 hours")])
def test_an_object_that_must_be_thawed_says_how_long_that_takes(moto: Moto, open_store: Open, where: str, hours: str) -> None:
    bucket = moto.new_bucket()
    moto.client.put_object(Bucket=bucket, Key="packs/game/a", Body=b"0123456789", StorageClass=where)
    store = open_store(moto, bucket, "packs")
    assert (store.size("game/a"), list(store.list())) == (10, [StoredObject("game/a", 10)])
    for offset, length in ((0, None), (2, 3)):
        with pytest.raises(ThawingError, match=f"lies in {where}, .* takes {hours}") as caught:
            store.get("game/a", offset, length)
    assert "--thaw" in caught.value.hint
    assert store.thaw("game/a", 7) == hours
    assert store.thaw("game/a", 7) is None
    assert store.get("game/a", 2, 3) == b"234"
    with pytest.raises(NotFoundError):
        store.thaw("game/b", 7)


def test_thawing_is_asked_for_once(scripted: Callable[..., Scripted], open_store: Open) -> None:
    """And by others, who were faster, at the same moment."""
    cold, coming = {"x-amz-storage-class": "DEEP_ARCHIVE", "Content-Length": "0"}, {"x-amz-restore": 'ongoing-request="true"'}
    server = scripted(
        HEAD=[(200, cold, b""), (200, cold | coming, b"")],
        POST=[refusal(409, "RestoreAlreadyInProgress"), refusal(500, "Twice")],
    )
    store = open_store(server, "bucket")
    asked = requests_of(store)
    assert [store.thaw("a", 1), store.thaw("a", 1)] == ["12 hours", "12 hours"]
    assert asked == ["HeadObject", "RestoreObject", "HeadObject"]


@pytest.mark.parametrize(
    ("head", "hours"),
    [
        ({"x-amz-storage-class": "INTELLIGENT_TIERING"}, None),
        ({"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS"}, "3 to 12 hours"),
        ({"x-amz-storage-class": "GLACIER_IR"}, None),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false", expiry-date="x"'}, None),
    ],
)
def test_what_must_be_thawed(
    scripted: Callable[..., Scripted], open_store: Open, head: dict[str, str], hours: str | None
) -> None:
    server = scripted(HEAD=[(200, head | {"Content-Length": "0"}, b"")], POST=[(202, {}, b"")])
    assert open_store(server, "bucket").thaw("a", 1) == hours


def test_many_are_deleted_by_a_request_for_a_thousand(rclone: Rclone, moto: Moto, open_store: Open) -> None:
    for server, count in ((rclone, 1001), (moto, 20)):
        bucket = server.new_bucket()
        store = open_store(server, bucket, "packs")
        keys = [f"game/{number:04}" for number in range(count)]
        if server is rclone:  # as they lie on its disk: that many puts would take their time
            for key in keys:
                path = rclone.folder / bucket / "packs" / key
                path.parent.mkdir(exist_ok=True, parents=True)
                path.write_bytes(b"x")
        store.put("game/stays", b"1")
        asked = requests_of(store)
        assert store.delete_many(keys) == {}
        assert asked == ["GetObjectLockConfiguration", *["DeleteObjects"] * -(-count // 1000)]
        assert list(store.list()) == [StoredObject("game/stays", 1)]


def test_of_many_the_locked_ones_stay_and_are_told(moto: Moto, open_store: Open) -> None:
    bucket = moto.new_bucket(ObjectLockEnabledForBucket=True)
    store = open_store(moto, bucket, "packs")
    for number in range(5):
        store.put(f"game/{number}", b"1")
    for number in (1, 3):
        moto.client.put_object_legal_hold(Bucket=bucket, Key=f"packs/game/{number}", LegalHold={"Status": "ON"})
    kept = store.delete_many([*(f"game/{number}" for number in range(5)), "game/nonesuch"])
    assert kept == {
        f"game/{number}": f"game/{number} in {store.url} is retained until its legal hold is lifted." for number in (1, 3)
    }
    assert [key for key, _ in store.list()] == list(kept)


def test_one_of_many_that_is_not_deleted_is_an_error(scripted: Callable[..., Scripted], open_store: Open) -> None:
    said = b"<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code><Message>No</Message></Error></DeleteResult>"
    server = scripted(GET=[refusal(404, "ObjectLockConfigurationNotFoundError")], POST=[(200, {}, said)])
    with pytest.raises(StorageUnavailableError, match=r"did not delete b: No \(AccessDenied\)") as caught:
        open_store(server, "bucket").delete_many(["a", "b"])
    assert "s3:DeleteObject" in caught.value.hint


def test_what_a_bucket_does_beside_keeping_objects(rclone: Rclone, moto: Moto, open_store: Open) -> None:
    plain = open_store(rclone, rclone.new_bucket()).describe("noted")
    assert (plain["versions"], plain["object-lock"], plain["checksums"]) == ("not kept", "none", "verified by the server")
    assert plain["connection"].startswith("not encrypted")
    bucket = moto.new_bucket(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    moto.client.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    rich = open_store(moto, bucket, storage_class="STANDARD_IA", sse="AES256").describe("noted")
    assert rich["versions"].startswith("kept")
    assert rich["object-lock"].startswith("on: what is put is locked for 30 days (GOVERNANCE)")
    assert rich["storage-class"] == "STANDARD_IA"
    assert rich["encryption"] == "AES256"
    assert rich["checksums"].startswith("not verified")  # moto believes whatever comes


def listing(*keys: str) -> tuple[int, dict[str, str], bytes]:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    return 200, {}, f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


def test_a_listing_out_of_order_is_refused(scripted: Callable[..., Scripted], open_store: Open) -> None:
    store = open_store(scripted(GET=[listing("a", "c", "b")]), "bucket")
    with pytest.raises(StorageUnavailableError, match="lists b after c"):
        list(store.list())


def test_an_object_that_is_listed_twice_is_one(scripted: Callable[..., Scripted], open_store: Open) -> None:
    store = open_store(scripted(GET=[listing("a", "b", "b", "c")]), "bucket")
    assert [key for key, _ in store.list()] == ["a", "b", "c"]


def test_a_server_that_knows_neither_conditions_nor_uploads(scripted: Callable[..., Scripted], open_store: Open) -> None:
    unknown, missing = refusal(501, "NotImplemented"), refusal(404, "NoSuchKey")
    server = scripted(PUT=[unknown, (200, {"ETag": '"1"'}, b"")], HEAD=[(404, {}, b"")], GET=[missing, unknown])
    store = open_store(server, "bucket")
    assert store.put_new("a", b"1") is True
    assert store.sweep() == 0


def test_who_is_overtaken_at_the_last_moment_was_not_first(scripted: Callable[..., Scripted], open_store: Open) -> None:
    there = (200, {}, b"")
    conflict, precondition = refusal(409, "ConditionalRequestConflict"), refusal(412, "PreconditionFailed")
    server = scripted(
        PUT=[conflict, precondition], HEAD=[(404, {}, b""), (404, {}, b""), there], GET=[refusal(404, "NoSuchKey")]
    )
    assert open_store(server, "bucket").put_new("a", b"1") is False


def test_a_read_that_breaks_off_is_done_again(scripted: Callable[..., Scripted], open_store: Open) -> None:
    cut, whole = (200, {"Content-Length": "10"}, b"01234"), (200, {}, b"0123456789")
    assert open_store(scripted(GET=[cut, cut, whole]), "bucket").get("a") == b"0123456789"
    with pytest.raises(StorageUnavailableError, match="could not read a"):
        open_store(scripted(GET=[cut]), "bucket").get("a")


def test_fewer_bytes_than_asked_for_are_an_integrity_error(scripted: Callable[..., Scripted], open_store: Open) -> None:
    server = scripted(GET=[(206, {}, b"012")], HEAD=[(200, {}, b"")])
    with pytest.raises(IntegrityError, match="a in s3://bucket"):
        open_store(server, "bucket").get("a", 0, 4)


def test_another_region_is_named_as_the_cause(scripted: Callable[..., Scripted], open_store: Open) -> None:
    server = scripted(GET=[refusal(400, "AuthorizationHeaderMalformed")])
    with pytest.raises(StorageUnavailableError, match="In so many words") as caught:
        open_store(server, "bucket").get("a")
    assert "region=" in caught.value.hint


def test_an_object_on_its_way_back_says_so(scripted: Callable[..., Scripted], open_store: Open) -> None:
    head = (200, {"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="true"', "Content-Length": "0"}, b"")
    server = scripted(GET=[refusal(403, "InvalidObjectState")], HEAD=[head])
    with pytest.raises(ThawingError, match="is being brought back from GLACIER: 3 to 5 hours"):
        open_store(server, "bucket").get("a")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://games", "s3://games"),
        ("s3://games/a/b/", "s3://games/a/b"),
        (
            "s3://games/a?region=eu-central-1&storage_class=GLACIER_IR&sse=aws:kms&sse_kms_key_id=k&tag=a=b&tag=c=",
            "s3://games/a",
        ),
        ("s3://games?endpoint_url=https%3A%2F%2Fminio%3A9000", "s3://games?endpoint_url=https://minio:9000"),
    ],
)
def test_a_url_names_a_bucket(url: str, shown: str) -> None:
    store = store_from_url(url)
    assert isinstance(store, S3Store)
    assert store.url == shown


@pytest.mark.parametrize(
    "url",
    [
        "s3:",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket with blanks",
        "s3://bucket/a/../b",
        "s3://bucket/%ff",
        "s3://bucket#part",
        "s3://bucket?region",
        "s3://bucket?region=",
        "s3://bucket?region=a&region=b",
        "s3://bucket?reggion=a",
        "s3://bucket?endpoint_url=minio:9000",
        "s3://bucket?endpoint_url=https://",
        "s3://bucket?endpoint_url=https://user:planted@minio",
        "s3://bucket?storage_class=cheap",
        "s3://bucket?storage_class=DEEP_ARCHIVE",
        "s3://bucket?sse=rot13",
        "s3://bucket?sse=AES256&sse_kms_key_id=k",
        "s3://bucket?tag=a",
        "s3://bucket?tag=a=1&tag=a=2",
        "s3://AKIA:planted@bucket",
        "s3://bucket?aws_secret_access_key=planted",
        "s3://[bucket",
    ],
)
def test_a_url_of_another_form_is_a_configuration_error_that_repeats_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        store_from_url(url)
    assert "planted" not in caught.value.message + caught.value.hint


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match="boto3") as caught:
        store_from_url("s3://bucket")
    assert "gamearchive[s3]" in caught.value.hint
