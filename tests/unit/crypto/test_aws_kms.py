from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.stub import Stubber

from joblog.errors import Conflict, Corrupt, Denied, InvalidSettings, JoblogError, Unavailable
from joblog.leader.crypto.aws_kms import AwsKms
from joblog.leader.crypto.kms_options import AwsOptions
from tests.kms_places import aws_options, name_at
from tests.object_servers import ACCESS_KEY, SECRET_KEY, free_port

CONTEXT = {"store": "s", "key": "k"}

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.fixture
def options(moto: str, tmp_path: Path) -> AwsOptions:
    return aws_options(moto, name_at(tmp_path, "key"))


@contextmanager
def refusing_server(status: int, code: str) -> Iterator[tuple[str, list[str]]]:
    """(address, operations that it was asked for): a server that refuses them all."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["X-Amz-Target"])
            said = json.dumps({"__type": code, "message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_key_is_named_by_alias_id_and_arn(options: AwsOptions) -> None:
    by_alias = AwsKms(options)
    wrapped = by_alias.wrap(b"secret", CONTEXT)
    with by_alias._asked() as client:
        found = client.describe_key(KeyId=options.key_id)["KeyMetadata"]
    for key_id in (found["KeyId"], found["Arn"]):
        assert AwsKms(replace(options, key_id=key_id, region="")).unwrap(wrapped, CONTEXT) == b"secret"


def test_another_context_is_told_from_another_key(options: AwsOptions, moto: str) -> None:
    wrapped = AwsKms(options).wrap(b"secret", CONTEXT)
    with pytest.raises(Corrupt, match="belongs to another store"):
        AwsKms(options).unwrap(wrapped, {**CONTEXT, "key": "l"})
    with pytest.raises(Denied):
        AwsKms(aws_options(moto, options.key_id.removeprefix("alias/") + "-other")).unwrap(wrapped, CONTEXT)
    with pytest.raises(Denied, match="no such key"):
        AwsKms(replace(options, key_id="alias/nobody-made-this")).unwrap(wrapped, CONTEXT)


def test_rewrapping_gives_the_secret_to_nobody(options: AwsOptions) -> None:
    kms = AwsKms(options)
    wrapped = kms.wrap(b"secret", CONTEXT)
    asked: list[str] = []
    kms._client.meta.events.register("before-call", lambda model, **_: asked.append(model.name))
    kms.rotate()
    assert asked == ["DescribeKey", "RotateKeyOnDemand"]
    asked.clear()
    newer = kms.rewrap(wrapped, CONTEXT)
    assert asked == ["ReEncrypt"]
    assert kms.unwrap(newer, CONTEXT) == kms.unwrap(wrapped, CONTEXT) == b"secret"


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("DisabledException", 400, Denied, "the key is disabled"),
        ("KMSInvalidStateException", 400, Denied, "to be deleted"),
        ("AccessDeniedException", 400, Denied, "do not allow it"),
        ("ExpiredTokenException", 400, Denied, "do not allow it"),
        ("IncorrectKeyException", 400, Denied, "wrapped with another key"),
        ("InvalidKeyUsageException", 400, Denied, "symmetric"),
        ("ThrottlingException", 400, Unavailable, "can't take it now"),
        ("KeyUnavailableException", 500, Unavailable, "can't take it now"),
        ("DependencyTimeoutException", 503, Unavailable, "can't take it now"),
        ("SomethingNew", 502, Unavailable, "can't take it now"),
        ("InvalidArnException", 400, InvalidSettings, "is not a key"),
    ],
)
def test_what_the_service_says_becomes_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[JoblogError], says: str
) -> None:
    kms = AwsKms(AwsOptions("alias/key"))
    client = kms._made()
    monkeypatch.setattr(kms, "_made", lambda: client)
    wrapped = b"\x01" + b"wrapped" * 9
    calls: dict[str, Callable[[AwsKms], bytes]] = {
        "encrypt": lambda kms: kms.wrap(b"secret", CONTEXT),
        "decrypt": lambda kms: kms.unwrap(wrapped, CONTEXT),
        "re_encrypt": lambda kms: kms.rewrap(wrapped, CONTEXT),
    }
    for operation, call in calls.items():
        with Stubber(client) as stub:
            stub.add_client_error(operation, code, "no", status)
            with pytest.raises(kind, match=says) as caught:
                call(kms)
            assert code in str(caught.value)


def test_a_throttled_request_is_tried_again_a_few_times(options: AwsOptions) -> None:
    with refusing_server(400, "ThrottlingException") as (endpoint, asked):
        with pytest.raises(Unavailable, match="ThrottlingException"):
            AwsKms(replace(options, endpoint=endpoint)).wrap(b"secret", CONTEXT)
        assert asked == ["TrentService.Encrypt"] * 3
    with refusing_server(400, "AccessDeniedException") as (endpoint, asked):
        with pytest.raises(Denied, match="AccessDeniedException"):
            AwsKms(replace(options, endpoint=endpoint)).wrap(b"secret", CONTEXT)
        assert asked == ["TrentService.Encrypt"]


def test_a_key_that_was_rotated_too_often_is_a_conflict(options: AwsOptions) -> None:
    kms = AwsKms(options)
    arn = "arn:aws:kms:us-east-1:1:key/k"
    with kms._asked() as client:
        stub = Stubber(client)
    stub.add_response("describe_key", {"KeyMetadata": {"KeyId": "k", "Arn": arn}})
    stub.add_client_error("rotate_key_on_demand", "LimitExceededException")
    with stub, pytest.raises(Conflict, match="move to another key"):
        kms.rotate()


def test_a_service_that_is_away_or_silent_is_unavailable(options: AwsOptions) -> None:
    with pytest.raises(Unavailable, match="no answer"):
        AwsKms(replace(options, endpoint=f"http://127.0.0.1:{free_port()}")).wrap(b"secret", CONTEXT)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="ReadTimeout"):
            AwsKms(replace(options, endpoint=endpoint, read_timeout_seconds=0.1)).wrap(b"secret", CONTEXT)


def test_credentials_that_come_later_are_found(options: AwsOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    kms = AwsKms(options)
    with pytest.raises(Denied, match="no credentials"):
        kms.wrap(b"secret", CONTEXT)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_settings_that_make_no_sense_are_named(options: AwsOptions) -> None:
    with pytest.raises(InvalidSettings, match=r"keys\.aws\.key_id is empty"):
        AwsKms(replace(options, key_id=""))
    with pytest.raises(InvalidSettings):
        AwsKms(replace(options, endpoint="nonsense")).wrap(b"secret", CONTEXT)
    with pytest.raises(Corrupt, match="was cut or changed"):
        AwsKms(options).unwrap(b"\x01" * 7000, CONTEXT)
