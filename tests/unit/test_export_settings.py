"""What may be set for the export of log lines, and what is shown to the collector."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, InvalidInput, InvalidSettings
from joblog.leader.export_settings import check_endpoint, parse_header_lines, parse_headers
from joblog.leader.exporting import CollectorFiles
from joblog.leader.settings import LeaderSettings
from joblog.settings import load
from joblog.worker.settings import WorkerSettings

SECRET = "c2VjcmV0LXRva2Vu"


def loaded(**variables: str) -> LeaderSettings:
    environ = {f"JOBLOG_OTLP_EXPORT_{name.upper()}": value for name, value in variables.items()}
    return load(LeaderSettings, environ=environ).values


def test_it_is_off() -> None:
    assert loaded().otlp_export.endpoint == ""


@pytest.mark.parametrize(
    "text", ["collector:4317", "ftp://c:1", "https://c", "https://c:4317/v1/logs", "https://c:0", "https://a:b@c:1"]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_endpoint(text)
    assert "a:b" not in str(refused.value)


def test_without_encryption_only_on_this_machine_unless_that_is_asked_for() -> None:
    assert loaded(endpoint="http://127.0.0.1:4317").otlp_export.endpoint
    assert loaded(endpoint="https://collector:4317").otlp_export.endpoint
    assert loaded(endpoint="http://collector:4317", plaintext="true").otlp_export.endpoint
    with pytest.raises(InvalidSettings, match="in clear"):
        loaded(endpoint="http://collector:4317")


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"namespaces": "a b"}, "namespaces"),
        ({"certificate": "/c.pem"}, "key"),
        ({"endpoint": "http://[::1]:1", "ca": "/c.pem"}, "https"),
        ({"headers": f"authorization {SECRET}"}, "headers"),
        ({"headers": f"x=1,grpc-timeout={SECRET}"}, "headers"),
        ({"headers": f"x={SECRET}%0A"}, "headers"),
    ],
)
def test_what_does_not_go_together_is_said_without_a_secret(variables: dict[str, str], what: str) -> None:
    with pytest.raises(InvalidSettings, match=what) as refused:
        loaded(**variables)
    assert SECRET not in str(refused.value)


def test_headers() -> None:
    assert parse_headers(" Authorization=Bearer%20x , api-key=a=b,") == (
        ("authorization", "Bearer x"),
        ("api-key", "a=b"),
    )
    assert parse_header_lines("# mine\n\nAuthorization: Bearer a:b\n") == (("authorization", "Bearer a:b"),)
    assert parse_headers("") == ()


def test_files_of_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text(f"authorization: Bearer {SECRET}\n")
    file.chmod(0o600)
    files = CollectorFiles((("a", "b"),), file, parse_header_lines, None, None, None)
    secrets = files.read()
    assert secrets.headers == (("a", "b"), ("authorization", f"Bearer {SECRET}"))
    assert SECRET not in repr(secrets)
    file.chmod(0o644)
    with pytest.raises(Denied):
        files.read()
    file.chmod(0o600)
    file.write_text(f"no header {SECRET}\n")
    with pytest.raises(Corrupt) as refused:
        files.read()
    assert SECRET not in str(refused.value)


def test_a_worker_takes_no_offence_at_the_leaders_variables() -> None:
    load(WorkerSettings, environ={"JOBLOG_OTLP_EXPORT_ENDPOINT": "https://c:4317", "JOBLOG_OTLP_TOKEN": "x" * 16})
    with pytest.raises(InvalidSettings, match=r"otlp\.lisen"):
        load(WorkerSettings, environ={"JOBLOG_OTLP_LISEN": "x"})
