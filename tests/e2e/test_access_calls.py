"""Open calls of callers who are not known any more; who a call is by, everywhere in it; what writers can do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.leader.access.audit import AuditEvent, NoAudit
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from joblog.token import Token
from joblog.v1 import access_pb2, admin_pb2, ingest_pb2, logs_pb2, types_pb2
from tests.e2e.access_callers import OTHER, OWN, Callers, closed_gate, make_callers
from tests.e2e.api_server import Api, api_in
from tests.e2e.push_stream import append_of, leader_in, open_of, push_to
from tests.stored_log import eventually

WITHIN_SECONDS = 1.0
LOG = f"/api/v1/namespaces/{OWN}/runs/r/tasks/t/attempts/1"


class Notes(NoAudit):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def acts(self) -> list[tuple[str, str, str, str]]:
        return [
            (event.action, event.principal.name if event.principal else "", event.outcome, event.subject)
            for event in self.events
        ]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path, closed_gate) as api:
        looking = asyncio.create_task(api.gate.run())
        yield api
        looking.cancel()
        await asyncio.wait([looking])


@pytest.fixture
def callers(api: Api) -> Callers:
    return make_callers(api.access_store)


def follow(api: Api, callers: Callers, caller: str) -> Any:
    identity = types_pb2.LogId(namespace=OWN, run="r", task="t", attempt=1)
    return api.logs.Read(logs_pb2.ReadRequest(id=identity, follow=True), metadata=callers.metadata(caller))


async def test_a_tail_ends_when_its_token_is_revoked_and_others_go_on(api: Api, callers: Callers) -> None:
    log = api.stored.log(LogName(OWN, "r", "t", 1))
    log.append((STDOUT, b"one"))
    tail, other = follow(api, callers, "reader"), follow(api, callers, f"reader of {OWN}")
    for stream in (tail, other):
        assert (await stream.read()).data == b"one"
    api.access_store.revoke_token(callers.ids["reader"])
    began = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(tail.read(), 10)
    assert time.monotonic() - began < WITHIN_SECONDS
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "revoked" in (caught.value.details() or "")
    log.append((STDOUT, b"two"))
    assert (await other.read()).data == b"two"
    other.cancel()
    await eventually(lambda: not api.gate.calls.principals())


async def test_a_tail_whose_client_reads_nothing_is_cut_too(api: Api, callers: Callers) -> None:
    log = api.stored.log(LogName(OWN, "r", "t", 1))
    for _ in range(40):
        log.append((STDOUT, bytes(900_000)))
    tail = follow(api, callers, "reader")
    await tail.read()
    await eventually(lambda: api.gate.calls.principals())
    api.access_store.revoke_token(callers.ids["reader"])
    began = time.monotonic()
    await eventually(lambda: not api.gate.calls.principals())
    assert time.monotonic() - began < WITHIN_SECONDS
    with pytest.raises(grpc.aio.AioRpcError):
        while isinstance(await tail.read(), logs_pb2.ReadResponse):
            pass


async def test_a_token_that_expires_or_that_another_process_revokes_ends_too(
    api: Api, callers: Callers, tmp_path: Path
) -> None:
    api.stored.log(LogName(OWN, "r", "t", 1)).append((STDOUT, b"one"))
    record, secret = api.access_store.create_token("brief", [Grant("reader")], created_by="t", lifetime_seconds=1)
    callers.tokens["brief"] = Token(record.id, secret).text
    brief, revoked = follow(api, callers, "brief"), follow(api, callers, "reader")
    for stream in (brief, revoked):
        await stream.read()
    other = AccessStore(tmp_path / "access.sqlite3")
    other.revoke_token(callers.ids["reader"])
    other.close()
    for stream in (revoked, brief):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(stream.read(), 3)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    for caller in ("brief", "reader"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await follow(api, callers, caller).read()
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_http_requests_end_when_their_token_is_revoked(api: Api, callers: Callers) -> None:
    log = api.stored.log(LogName(OWN, "r", "t", 1))
    for _ in range(60):
        log.append((STDOUT, bytes(900_000)))
    headers = callers.headers("reader")
    waiting = asyncio.create_task(
        api.http.get(f"{LOG}/bytes", params={"offset": log.length, "wait": 60}, headers=headers)
    )
    async with api.http.stream("GET", f"{LOG}/raw", headers=headers) as download:
        assert download.status_code == 200
        body = download.aiter_bytes()
        await anext(body)
        await eventually(lambda: sum(map(len, api.gate.calls._calls.values())) == 2)
        api.access_store.revoke_token(callers.ids["reader"])
        began = time.monotonic()
        reply = await waiting
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "UNAUTHENTICATED")
        await eventually(lambda: not api.gate.calls.principals())
        assert time.monotonic() - began < WITHIN_SECONDS
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in body:
                pass


async def test_who_calls_is_known_everywhere_in_a_call(api: Api, callers: Callers) -> None:
    reader = f"reader of {OWN}"
    for namespace in (OWN, OTHER):
        api.stored.log(LogName(namespace, "r", "t", 1)).append((STDOUT, b"x"))
    replies = await asyncio.gather(
        *(
            call
            for caller in ("admin", reader, f"viewer of {OWN}", "operator") * 10
            for call in (
                api.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=callers.metadata(caller)),
                api.http.get("/api/v1/whoami", headers=callers.headers(caller)),
            )
        )
    )
    said = [reply.name if isinstance(reply, access_pb2.WhoAmIResponse) else reply.json()["name"] for reply in replies]
    assert said == [caller for caller in ("admin", reader, f"viewer of {OWN}", "operator") for _ in range(2)] * 10
    listed = await api.logs.ListNamespaces(logs_pb2.ListNamespacesRequest(), metadata=callers.metadata(reader))
    assert list(listed.namespaces) == [OWN]
    assert (await api.http.get("/api/v1/namespaces", headers=callers.headers(reader))).json()["namespaces"] == [OWN]
    assert not api.gate.calls.principals()


async def test_lists_of_namespaces_are_paged_over_those_that_are_seen(api: Api, callers: Callers) -> None:
    for number in range(12):
        api.stored.log(LogName(f"{'team' if number % 3 == 0 else 'other'}-{number:02}", "r", "t", 1))
    record, secret = api.access_store.create_token("globs", [Grant("reader", ("team-*",))], created_by="t")
    callers.tokens["globs"] = Token(record.id, secret).text
    seen: list[str] = []
    cursor = ""
    while True:
        page = await api.http.get(
            "/api/v1/namespaces", params={"limit": 2, "cursor": cursor}, headers=callers.headers("globs")
        )
        seen += page.json()["namespaces"]
        cursor = page.json()["next_cursor"]
        assert "other" not in cursor
        if not cursor:
            break
    assert seen == ["team-00", "team-03", "team-06", "team-09"]


async def test_what_the_status_tells_depends_on_who_asks(api: Api, callers: Callers) -> None:
    async def status(caller: str) -> admin_pb2.GetStatusResponse:
        reply = await api.admin.GetStatus(admin_pb2.GetStatusRequest(), metadata=callers.metadata(caller))
        assert isinstance(reply, admin_pb2.GetStatusResponse)
        return reply

    api.not_ready.append("out of ideas")
    for caller in ("admin", "operator"):
        full = await status(caller)
        assert [worker.worker_id for worker in full.workers] == ["w1"] and "out of ideas" in full.warnings[0]
    reader = await status("reader")
    assert (len(reader.workers), len(reader.warnings), reader.logs_live) == (0, 0, 7)
    of_own = await status(f"reader of {OWN}")
    assert (len(of_own.workers), of_own.logs_live, of_own.buffer_bytes, of_own.version) == (0, 0, 0, "1.2.3")
    shown = (await api.http.get("/api/v1/status", headers=callers.headers(f"reader of {OWN}"))).json()
    assert (shown["workers"], shown["warnings"], shown["logs_live"]) == ([], [], 0)


async def test_the_audit_log_is_told(tmp_path: Path) -> None:
    notes = Notes()
    async with api_in(tmp_path, lambda store: Gate(store, Recogniser(store), notes)) as api:
        callers = make_callers(api.access_store)
        api.stored.log(LogName(OWN, "r", "t", 1)).append((STDOUT, b"x"))
        identity = types_pb2.LogId(namespace=OWN, run="r", task="t", attempt=1)
        admin = callers.metadata("admin")
        await api.logs.Read(logs_pb2.ReadRequest(id=identity), metadata=admin).read()
        await api.http.get(f"{LOG}/raw", headers=callers.headers("admin"))
        await api.http.get(f"{LOG}/raw", headers=callers.headers("writer"))
        await api.http.get(f"{LOG}/raw")
        for caller in ("revoked", "viewer"):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await api.logs.Read(logs_pb2.ReadRequest(id=identity), metadata=callers.metadata(caller)).read()
        created = await api.access.CreateToken(
            access_pb2.CreateTokenRequest(name="n", grants=[access_pb2.Grant(role="reader")]), metadata=admin
        )
        await api.access.RevokeToken(access_pb2.RevokeTokenRequest(id=created.token.id), metadata=admin)
        await api.admin.Delete(admin_pb2.DeleteRequest(namespace=OWN, run="r"), metadata=admin)
    path = f"{OWN}:r/t/1"
    assert notes.acts() == [
        ("log.read", "admin", "ok", path),
        ("log.read", "admin", "ok", path),
        ("refused", "writer", "refused", path),
        ("refused", "", "refused", path),
        ("refused", "", "refused", path),
        ("refused", "viewer", "refused", path),
        ("token.create", "admin", "ok", created.token.id),
        ("token.revoke", "admin", "ok", created.token.id),
        ("log.delete", "admin", "ok", f"{OWN}:r"),
    ]
    assert all(event.peer for event in notes.events)
    assert Token.parse(created.secret).text not in repr(notes.events)


# Writers


@contextlib.asynccontextmanager
async def closed_leader(folder: Path) -> AsyncIterator[tuple[Any, Callers, Gate]]:
    folder.mkdir(exist_ok=True)
    access = AccessStore(folder / "access.sqlite3")
    gate = closed_gate(access)
    await gate.start()
    async with leader_in(folder, gate) as leader:
        yield leader, make_callers(access), gate
    access.close()


async def test_a_writer_opens_logs_of_its_namespaces_only(tmp_path: Path) -> None:
    async with closed_leader(tmp_path) as (leader, callers, _):
        async with push_to(leader.address, callers.metadata("writer")) as push:
            await push.hello("w0")
            await push.open(open_of(1, namespace=OTHER, run="there"))
        async with push_to(leader.address, callers.metadata(f"writer of {OWN}")) as push:
            await push.hello("w1")
            await push.open(open_of(1, namespace=OWN))
            await push.send(
                opens=[open_of(2, namespace=OTHER, run="there", attempt=1), open_of(3, namespace=OTHER, run="absent")]
            )
            await push.until(lambda: len(push.refusals) == 2)
            there, absent = push.refusals
            assert {there.code, absent.code} == {ingest_pb2.REFUSAL_CODE_DENIED}
            assert there.message == absent.message and there.permanent and not there.next_offset
            await push.send(appends=[append_of(1, 0, b"mine"), append_of(2, 0, b"not mine")])
            await push.until(lambda: push.acks.get(1) == 4)
            await push.until(lambda: len(push.refusals) == 3)
            assert push.refusals[2].code == ingest_pb2.REFUSAL_CODE_UNKNOWN_HANDLE
            await push.send(opens=[open_of(9, namespace="@audit")])
            await push.until(lambda: len(push.refusals) == 4)
            assert push.refusals[3].code == ingest_pb2.REFUSAL_CODE_DENIED
        for caller in (f"reader of {OWN}", "operator", "viewer", "revoked", "nobody"):
            async with push_to(leader.address, callers.metadata(caller)) as push:
                with pytest.raises(grpc.aio.AioRpcError):
                    await push.until(lambda: False)


async def test_a_second_writer_of_a_namespace_gets_nothing_of_anothers_log(tmp_path: Path) -> None:
    async with closed_leader(tmp_path) as (leader, callers, _):
        writer = callers.metadata(f"writer of {OWN}")
        async with push_to(leader.address, writer) as first, push_to(leader.address, writer) as second:
            await first.hello("w1")
            await second.hello("w2")
            await first.open(open_of(1, namespace=OWN, writer_id=b"a" * 16))
            await first.send(appends=[append_of(1, 0, b"first's")])
            await first.until(lambda: first.acks.get(1) == 7)
            await second.send(
                opens=[open_of(1, namespace=OWN, writer_id=b"b" * 16, attempt=first.opened[1].id.attempt)]
            )
            await second.until(lambda: second.refusals)
            refusal = second.refusals[0]
            assert refusal.code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
            assert not refusal.next_offset and "7" not in refusal.message
            await second.open(open_of(2, namespace=OWN, writer_id=b"b" * 16))
            await first.send(appends=[append_of(1, 7, b" still")])
            await first.until(lambda: first.acks.get(1) == 13)


async def test_a_bound_writer_pushes_as_its_own_worker_only(tmp_path: Path) -> None:
    async with closed_leader(tmp_path) as (leader, callers, gate):
        assert gate._store is not None
        record, secret = gate._store.create_token("b", [Grant("writer")], created_by="t", worker_id="w1")
        callers.tokens["bound"] = Token(record.id, secret).text
        async with push_to(leader.address, callers.metadata("bound")) as push:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await push.hello("w2")
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        async with push_to(leader.address, callers.metadata("bound")) as push:
            await push.hello("w1")


async def test_a_stream_ends_when_its_token_is_revoked_and_what_it_brought_stays(tmp_path: Path) -> None:
    async with closed_leader(tmp_path) as (leader, callers, gate):
        async with push_to(leader.address, callers.metadata("writer")) as push:
            await push.hello("w1")
            await push.open(open_of(1))
            await push.send(appends=[append_of(1, 0, b"kept")])
            await push.until(lambda: push.acks.get(1) == 4)
            assert gate._store is not None
            gate._store.revoke_token(callers.ids["writer"])
            began = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await push.until(lambda: False)
            assert time.monotonic() - began < WITHIN_SECONDS
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert leader.stored(push.opened[1].number) == b"kept"
