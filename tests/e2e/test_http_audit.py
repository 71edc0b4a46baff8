"""The audit log over HTTP: pages, newest first, filters, and who may have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joblog.batch import STDOUT
from joblog.identity import AUDIT_NAMESPACE, AUDIT_TASK, LogName
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_line import BEGIN, Head, head_of, make_line
from joblog.leader.access.principal import Principal
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from tests.e2e.access_callers import UNKNOWN, Callers, closed_gate, make_callers
from tests.e2e.api_server import Api, api_in
from tests.stored_log import StoredLeader

ANN = Principal("token", "ann", "id-of-ann")


def write_chain(stored: StoredLeader, logs: list[tuple[str, int, int]]) -> int:
    """(run, attempt, acts) of each log; how many lines there are."""
    head, total = Head(), 0
    for run, attempt, acts in logs:
        stored_log = stored.log(LogName(AUDIT_NAMESPACE, run, AUDIT_TASK, attempt))
        events = [AuditEvent(BEGIN, None, "ok")]
        events += [
            AuditEvent("log.delete" if act % 10 == 0 else "log.read", ANN, "ok", f"{act}") for act in range(acts)
        ]
        for event in events:
            line = make_line(event, 1_790_000_000_000_000_000 + total, head)
            head = head_of(line, "x")
            stored_log.append((STDOUT, line))
            total += 1
    return total


async def pages(api: Api, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        reply = await api.http.get("/api/v1/audit", params={**parameters, "cursor": cursor})
        assert reply.status_code == 200, reply.text
        found += reply.json()["lines"]
        cursor = reply.json()["next_cursor"]
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_are_the_chain_backwards(tmp_path: Path, limit: int) -> None:
    async with api_in(tmp_path) as api:
        total = write_chain(api.stored, [("2026-09", 9, 5), ("2026-09", 10, 0), ("2026-10", 1, 30)])
        found = await pages(api, limit=limit)
        assert [line["sequence"] for line in found] == list(range(total, 0, -1))
        assert found[0]["who"] == {"kind": "token", "name": "ann", "id": "id-of-ann"}
        deleted = await pages(api, limit=limit, action="*.delete", who="ann")
        assert [line["subject"] for line in deleted] == ["20", "10", "0", "0"]
        assert not await pages(api, limit=limit, who="bob")


async def test_what_is_no_cursor_is_refused(tmp_path: Path) -> None:
    async with api_in(tmp_path) as api:
        assert (await api.http.get("/api/v1/audit", params={"cursor": "../x"})).status_code == 400
        assert (await api.http.get("/api/v1/audit")).json() == {"lines": [], "damaged": 0, "next_cursor": ""}


async def test_it_is_read_with_the_right_to_it_alone(tmp_path: Path) -> None:
    made: list[Callers] = []

    def gate(store: AccessStore) -> Gate:
        made.append(make_callers(store))
        return closed_gate(store)

    async with api_in(tmp_path, gate) as api:
        (callers,) = made
        write_chain(api.stored, [("2026-10", 1, 3)])
        log = "/api/v1/namespaces/@audit/runs/2026-10/tasks/audit/attempts/1"
        for path in ("/api/v1/audit", f"{log}/bytes", log, "/api/v1/namespaces/@audit/runs"):
            for caller in callers.tokens:
                reply = await api.http.get(path, headers=callers.headers(caller))
                expected = 200 if caller == "admin" else 401 if caller in UNKNOWN else 403
                assert reply.status_code == expected, (path, caller, reply.text)
        admin, reader = callers.headers("admin"), callers.headers("reader")
        assert (await api.http.delete("/api/v1/namespaces/@audit/runs/2026-10", headers=admin)).status_code == 403
        assert (await api.http.get("/api/v1/namespaces", headers=admin)).json()["namespaces"] == ["@audit"]
        assert (await api.http.get("/api/v1/namespaces", headers=reader)).json()["namespaces"] == []
