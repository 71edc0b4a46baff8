"""`joblog ui` and settings of signing in, with real processes over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from joblog.address import read_leader_file
from tests.e2e.machine import Machine

MEANT = {"Joblog-Request": "1"}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "data")
    machine.environment |= {
        "JOBLOG_HTTP_BASE_PATH": "/joblog/",
        "JOBLOG_OIDC_ISSUER": "http://127.0.0.1:9",
        "JOBLOG_OIDC_NAME": "Nobody at home",
        "JOBLOG_OIDC_CLIENT_ID": "joblog",
        "JOBLOG_OIDC_CLIENT_SECRET": "a secret of the tests",
        "JOBLOG_OIDC_GRANTS": "all=reader:*",
        "JOBLOG_ACCESS_FAILURES_PER_MINUTE": "3",
    }
    yield machine
    machine.close()


def test_a_link_opens_the_ui_once(machine: Machine) -> None:
    machine.start_up()
    leader = read_leader_file(machine.data_dir)
    link = machine.call("ui").stdout.decode().strip()
    assert link.startswith(f"{leader.http_url}/login#code=")
    assert leader.http_url.endswith("/joblog")
    code = {"code": urlsplit(link).fragment.removeprefix("code=")}
    with httpx.Client(base_url=leader.http_url, verify=ssl.create_default_context(cadata=leader.ca)) as browser:
        assert browser.get("/login").headers["content-type"].startswith("text/html")
        ways = browser.get("/api/v1/session").json()
        assert ways["oidc"] == {"name": "Nobody at home", "start": "api/v1/oidc/start"}
        reply = browser.post("/api/v1/session", json=code, headers=MEANT)
        assert (reply.status_code, reply.json()["name"]) == (201, "leader-admin")
        assert browser.get("/api/v1/whoami").json()["kind"] == "session"
        assert [browser.post("/api/v1/session", json=code, headers=MEANT).status_code for _ in range(4)] == [
            401,
            401,
            401,
            429,
        ]
        away = browser.get("/api/v1/oidc/start?to=/runs")
        assert (away.status_code, away.headers["location"]) == (303, "/joblog/login?problem=unavailable&to=%2Fruns")
    # Who signed in is in the audit log, and no secret is in it, nor in what the leader says.
    said = machine.call("audit", "tail", "--json").stdout.decode() + machine.messages.read_text()
    assert '"login"' in said
    assert code["code"] not in said
    assert "a secret of the tests" not in said
