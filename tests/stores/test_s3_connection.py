"""The way to a bucket: credentials, that nobody gets to see; encryption, proxies, and what is tried again."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import subprocess
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archiving import games
from s3_servers import SECRET, Rclone, Scripted, refusal, requests_of

from gamearchive.archivers.process import ProcessArchiver
from gamearchive.archivers.wire import ArchivePlace
from gamearchive.database.engine import Database
from gamearchive.errors import ConfigurationError, StorageUnavailableError
from gamearchive.model import Sender
from gamearchive.stores.registry import store_from_url
from gamearchive.stores.s3 import S3Store

Open = Callable[..., S3Store]
Start = Callable[..., Scripted]


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_fail_at_once_and_are_not_shown(
    rclone: Rclone, open_store: Open, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "planted" * 4)
    store = open_store(rclone, rclone.new_bucket())
    asked = requests_of(store)
    calls: list[Callable[[], object]] = [
        lambda: store.put("a", b""),
        lambda: store.get("a"),
        lambda: store.size("a"),
        lambda: store.delete("a"),
        lambda: list(store.list()),
        store.sweep,
    ]
    for number, call in enumerate(calls, 1):
        with pytest.raises(StorageUnavailableError) as caught:
            call()
        assert "credentials" in caught.value.hint
        assert len(asked) == number
        shown = "".join(traceback.format_exception(caught.value)) + repr(store) + store.url + str(vars(store))
        assert "planted" not in shown
        assert SECRET not in shown


def test_no_credentials_at_all(rclone: Rclone, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    with pytest.raises(StorageUnavailableError) as caught:
        open_store(rclone, "a-bucket").get("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_what_boto3_logs_has_no_secret(rclone: Rclone, open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where a program wants to see all that there is; nor has what this package logs."""
    caplog.set_level(logging.DEBUG)
    store = open_store(rclone, rclone.new_bucket())
    store.put("a", b"1")
    store.get("a")
    assert "PutObject" in caplog.text
    assert SECRET not in caplog.text
    own = "".join(record.getMessage() for record in caplog.records if record.name.startswith("gamearchive"))
    assert "Credential" not in own


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:planted@bucket",
        "s3://planted@bucket/prefix",
        "s3://bucket?aws_secret_access_key=planted",
        "s3://bucket?endpoint_url=https://AKIA:planted@minio:9000",
        "s3://bucket?token=planted#part",
        "s3://bucket?tag=planted",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        store_from_url(url)
    assert "planted" not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


def test_the_list_of_processes_has_no_secret(rclone: Rclone, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that archives beside a game server is told what it needs through a pipe."""
    database = Database(sqlite_url)
    database.create()
    database.close()
    # The token is one more that boto3 finds in the environment; rclone takes no notice of it.
    monkeypatch.setenv("AWS_SESSION_TOKEN", "planted" * 4)
    archiver = ProcessArchiver(ArchivePlace(sqlite_url, rclone.url(rclone.new_bucket()), 3))
    assert archiver.archive(Sender(), games(1)).written == 1
    listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    archiver.close()
    own = [line for line in listed.splitlines() if "rclone" not in line]
    assert any("archivers.child" in line for line in own)
    assert [line for line in own if "planted" in line or SECRET in line] == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate, with its key, that nobody but its owner has signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


def test_a_server_whose_certificate_nobody_vouches_for_is_refused(
    scripted: Start, open_store: Open, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    server = scripted(GET=[(200, {}, b"these")], PUT=[(200, {"ETag": '"1"'}, b"")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.endpoint_url = server.endpoint_url.replace("http:", "https:")
    calls: list[Callable[[S3Store], object]] = [lambda store: store.get("a"), lambda store: store.put("a", b"1")]
    for call in calls:
        with pytest.raises(StorageUnavailableError, match="certificate verify failed") as caught:
            call(open_store(server, "bucket"))
        assert "AWS_CA_BUNDLE" in caught.value.hint
    assert server.asked == []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert open_store(server, "bucket").get("a") == b"these"


def test_proxies_and_addresses_are_those_that_boto3_is_told(
    scripted: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = scripted(GET=[(200, {}, b"these")])
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint_url)
    config = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for style in ("path", "virtual"):
        config.write_text(f"[default]\ns3 =\n    addressing_style = {style}\n")
        store = store_from_url("s3://bucket/packs?endpoint_url=http://s3.invalid:9000")
        assert store.get("a") == b"these"
        store.close()
    assert proxy.asked == ["http://s3.invalid:9000/bucket/packs/a", "http://bucket.s3.invalid:9000/packs/a"]


def test_what_a_busy_server_refuses_is_tried_again_and_what_is_refused_for_good_is_not(
    scripted: Start, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    done, busy = (200, {"ETag": '"1"'}, b""), refusal(503, "SlowDown")
    server = scripted(PUT=[busy, done, refusal(403, "AccessDenied")], GET=[busy])
    store = open_store(server, "bucket")
    store.put("a", b"1")
    assert len(server.asked) == 2
    with pytest.raises(StorageUnavailableError, match="AccessDenied"):
        store.put("a", b"1")
    assert len(server.asked) == 3
    with pytest.raises(StorageUnavailableError, match="SlowDown"):
        store.get("a")
    assert len(server.asked) == 5
