"""Every method of every service and every HTTP route, asked by every kind of caller, in its own and another namespace.

What is expected stands here, apart from the rules that it tests: who may, by the name of the caller.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fastapi.routing import iter_route_contexts
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

import joblog.v1
from joblog.batch import STDOUT
from joblog.identity import AUDIT_NAMESPACE, LogName
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.roles import Grant
from joblog.leader.api import rules
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_adoption import AdoptionService
from joblog.leader.api.grpc_backups import BackupsService
from joblog.leader.api.http.app import make_routes
from joblog.token import Token
from joblog.v1 import adoption_pb2_grpc, backup_pb2_grpc, ingest_pb2_grpc, keys_pb2_grpc
from tests.e2e.access_callers import (
    OTHER,
    OWN,
    ROLES_OWN,
    ROLES_WHOLE,
    UNKNOWN,
    closed_gate,
    make_callers,
    make_cookies,
)
from tests.e2e.api_server import Api, api_in

ADMIN, OPERATOR, READER, VIEWER, WRITER = ROLES_WHOLE
EVERYWHERE = "everywhere"
SEE = {ADMIN, OPERATOR, READER, VIEWER}
READ = {ADMIN, READER}
VERIFY = {ADMIN, OPERATOR, READER}
DELETE = {ADMIN}
WRITE = {ADMIN, WRITER}
OPERATE = {ADMIN, OPERATOR}
STATUS = {ADMIN, OPERATOR, READER, VIEWER}
ANYBODY = set(ROLES_WHOLE)

# Roles that may, and how far: those with the role on one namespace may there ("namespace"), as those with it on all
# ("somewhere": what they see of the answer depends on it), or not at all ("whole").
METHODS: dict[str, tuple[set[str], str]] = {
    "Logs/ListNamespaces": (SEE, "somewhere"),
    "Logs/ListRuns": (SEE, "namespace"),
    "Logs/GetRun": (SEE, "namespace"),
    "Logs/ListLogs": (SEE, "namespace"),
    "Logs/GetLog": (SEE, "namespace"),
    "Logs/Read": (READ, "namespace"),
    "Logs/Verify": (VERIFY, "namespace"),
    "Logs/Search": (READ, "namespace"),
    "Ingest/Push": (WRITE, "somewhere"),
    # Of a worker that none of the callers is; tested beside the table.
    "Ingest/KeepSpoolKey": ({ADMIN}, "whole"),
    "Ingest/GetSpoolKeys": ({ADMIN}, "whole"),
    "Ingest/DropSpoolKeys": ({ADMIN}, "whole"),
    "Ingest/GetLogTail": (WRITE, "namespace"),
    "Admin/GetStatus": (STATUS, "somewhere"),
    "Admin/Delete": (DELETE, "namespace"),
    "Adoption/Adopt": (OPERATE, "whole"),
    "Keys/GetKeys": (OPERATE, "whole"),
    "Keys/RotateKeys": (OPERATE, "whole"),
    "Keys/RewrapKeys": (OPERATE, "whole"),
    "Keys/ExportKeys": (OPERATE, "whole"),
    "Backups/CreateBackup": (OPERATE, "whole"),
    "Backups/ListBackups": (OPERATE, "whole"),
    "Backups/GetBackup": (OPERATE, "whole"),
    "Backups/VerifyBackup": (OPERATE, "whole"),
    "Backups/PruneBackups": (OPERATE, "whole"),
    "Backups/RestoreRuns": (OPERATE, "whole"),
    "Retention/GetRetention": (OPERATE, "whole"),
    "Retention/PreviewRetention": (SEE, "namespace"),
    "Retention/RunRetention": (OPERATE, "whole"),
    "Retention/SetHold": ({ADMIN}, "whole"),
    "Retention/LiftHold": ({ADMIN}, "whole"),
    "Retention/ListHolds": ({ADMIN}, "whole"),
    "Access/Join": (WRITE, "somewhere"),
    "Access/Renew": (set(), "whole"),
    "Access/WhoAmI": (ANYBODY, "somewhere"),
    "Access/CreateSignInCode": (ANYBODY, "somewhere"),
    "Access/CreateToken": ({ADMIN}, "somewhere"),
    "Access/ListTokens": ({ADMIN}, "somewhere"),
    "Access/RevokeToken": ({ADMIN}, "somewhere"),
    "Access/ListCertificates": (OPERATE, "whole"),
    "Access/RevokeCertificate": (OPERATE, "whole"),
}

ROUTES: dict[str, tuple[set[str], str]] = {
    "healthz": (set(), "public"),
    "readyz": (set(), "public"),
    "openapi": (set(), "public"),
    "ui_file": (set(), "public"),
    "ui_page": (set(), "public"),
    "metrics": (OPERATE, "whole"),
    "status": (STATUS, "somewhere"),
    "whoami": (ANYBODY, "somewhere"),
    "get_session": (set(), "public"),
    "create_session": (set(), "public"),
    "delete_session": (set(), "public"),
    "start_oidc": (set(), "public"),
    "finish_oidc": (set(), "public"),
    "list_namespaces": (SEE, "somewhere"),
    "list_runs": (SEE, "namespace"),
    "get_run": (SEE, "namespace"),
    "list_logs": (SEE, "namespace"),
    "list_jobs": (SEE, "namespace"),
    "get_job": (SEE, "namespace"),
    "get_log": (SEE, "namespace"),
    "get_events": (SEE, "namespace"),
    "get_death": (READ, "namespace"),
    "verify": (VERIFY, "namespace"),
    "get_bytes": (READ, "namespace"),
    "get_lines": (READ, "namespace"),
    "get_raw": (READ, "namespace"),
    "get_marks": (READ, "namespace"),
    "search_log": (READ, "namespace"),
    "search_run": (READ, "namespace"),
    "search_namespace": (READ, "namespace"),
    "delete_run": (DELETE, "namespace"),
    "delete_task": (DELETE, "namespace"),
    "delete_log": (DELETE, "namespace"),
    "read_audit": ({ADMIN}, "whole"),
    "list_tokens": ({ADMIN}, "somewhere"),
    "create_token": ({ADMIN}, "somewhere"),
    "revoke_token": ({ADMIN}, "somewhere"),
    "list_certificates": (OPERATE, "whole"),
    "revoke_certificate": (OPERATE, "whole"),
    "list_workers": (OPERATE, "whole"),
    "get_storage": (OPERATE, "whole"),
    "count_archive": (OPERATE, "whole"),
    "list_backups": (OPERATE, "whole"),
    "create_backup": (OPERATE, "whole"),
    "get_backup": (OPERATE, "whole"),
    "verify_backup": (OPERATE, "whole"),
    "prune_backups": (OPERATE, "whole"),
    "restore_runs": (OPERATE, "whole"),
    "get_keys": (OPERATE, "whole"),
    "rotate_keys": (OPERATE, "whole"),
    "get_retention": (OPERATE, "whole"),
    "preview_retention": (OPERATE, "whole"),
    "preview_namespace": (SEE, "namespace"),
    "run_retention": (OPERATE, "whole"),
    "list_holds": ({ADMIN}, "whole"),
    "set_hold": ({ADMIN}, "whole"),
    "lift_hold": ({ADMIN}, "whole"),
}

# What a request that was let in may be answered with; the services behind these are not what is tested here.
_NOT_ALLOWED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def may(expected: tuple[set[str], str], caller: str, namespace: str) -> bool:
    """Whether the caller is to be let in."""
    allowed, where = expected
    if where == "public":
        return True
    if caller in UNKNOWN:
        return False
    role, _, of = caller.partition(" of ")
    if role not in allowed:
        return False
    if not of or where == "somewhere":
        return True
    return where == "namespace" and namespace == of


def methods() -> Iterator[MethodDescriptor]:
    """Every method of every service in joblog.v1."""
    for module in pkgutil.iter_modules(joblog.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"joblog.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                yield from service.methods


def short_name(method: MethodDescriptor) -> str:
    """Service/Method."""
    return f"{method.containing_service.name}/{method.name}"


def request_for(method: MethodDescriptor, namespace: str) -> Any:
    """A request that names a namespace, and in it things that are not there, where the method takes them."""
    request: Any = message_factory.GetMessageClass(method.input_type)()
    fields = method.input_type.fields_by_name
    if "namespace" in fields:
        request.namespace = namespace
    if "run" in fields:
        request.run = "nothing"
    if "id" in fields and fields["id"].message_type is not None:
        request.id.namespace, request.id.run, request.id.task, request.id.attempt = namespace, "nothing", "nothing", 1
    if "pattern" in fields:
        request.pattern = "x"
    if "worker_id" in fields:
        request.worker_id = "worker-of-nobody"
    return request


def add_the_others(server: grpc.aio.Server) -> None:
    """Stubs of the services that a server of the tests lacks: what the gate lets in is not implemented there."""
    ingest_pb2_grpc.add_IngestServicer_to_server(ingest_pb2_grpc.IngestServicer(), server)  # type: ignore[no-untyped-call]
    keys_pb2_grpc.add_KeysServicer_to_server(keys_pb2_grpc.KeysServicer(), server)  # type: ignore[no-untyped-call]
    backup_pb2_grpc.add_BackupsServicer_to_server(BackupsService(None), server)  # type: ignore[no-untyped-call]
    adoption_pb2_grpc.add_AdoptionServicer_to_server(AdoptionService(None), server)  # type: ignore[no-untyped-call]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path, closed_gate, [add_the_others]) as api:
        for namespace in (OWN, OTHER):
            log = api.stored.log(LogName(namespace, "r", "t", 1))
            log.append((STDOUT, b"secret of " + namespace.encode()))
            log.complete()
        yield api


async def status_of(api: Api, method: MethodDescriptor, request: Any, metadata: Any) -> tuple[grpc.StatusCode, str]:
    """How a call ends, and what it says; a stream's at its first message or its end."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    make: Any = {
        (False, False): api.channel.unary_unary,
        (False, True): api.channel.unary_stream,
        (True, True): api.channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    call: Any = make(path, lambda message: message.SerializeToString(), lambda data: data)(
        iter([request]) if method.client_streaming else request, metadata=metadata, timeout=20
    )
    try:
        if method.server_streaming:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    finally:
        call.cancel()
    return grpc.StatusCode.OK, ""


def test_every_method_has_a_rule_and_a_row_here_and_no_rule_names_what_is_gone() -> None:
    found = {short_name(method) for method in methods()}
    assert found == set(METHODS), "say here who may call a new method, and take out what is gone"
    assert {f"/joblog.v1.{name}" for name in found} == set(rules.GRPC)


async def test_every_route_has_a_rule_and_a_row_here_and_no_rule_names_what_is_gone(api: Api) -> None:
    found = {route.name for route in iter_route_contexts(make_routes(api.http_server._context).routes)}
    assert found == set(ROUTES), "say here who may use a new route, and take out what is gone"
    assert found == set(rules.HTTP)


async def test_methods(api: Api) -> None:
    callers = make_callers(api.access_store)
    wrong = []
    for method in methods():
        expected = METHODS[short_name(method)]
        for caller in (*ROLES_WHOLE, *ROLES_OWN, *UNKNOWN):
            for namespace in (OWN, OTHER):
                request = request_for(method, namespace)
                code, details = await status_of(api, method, request, callers.metadata(caller))
                if may(expected, caller, namespace):
                    is_right = code not in _NOT_ALLOWED
                elif caller in UNKNOWN:
                    is_right = code == grpc.StatusCode.UNAUTHENTICATED
                else:
                    is_right = code == grpc.StatusCode.PERMISSION_DENIED
                if not is_right:
                    wrong.append((short_name(method), caller, namespace, code, details))
    assert not wrong


def paths_of(api: Api, namespace: str) -> Iterator[tuple[str, str, str]]:
    """Name, method and path of every route, with things in the namespace that are not there."""
    values = {"namespace": namespace, "run": "nothing", "task": "nothing", "attempt": "1", "token_id": "nothing"}
    values["backup_id"] = "latest"
    for route in iter_route_contexts(make_routes(api.http_server._context).routes):
        assert route.name is not None and route.path is not None
        for method in sorted(route.methods or ()):
            query = "?q=x" if route.name.startswith(("search", "get_marks")) else ""
            path = route.path.replace("{name:path}", "nothing").replace("{path:path}", "nothing")
            yield route.name, method, path.format_map(values) + query


async def wrong_answers(api: Api, callers: dict[str, dict[str, str]]) -> list[tuple[object, ...]]:
    """Asks every route for every caller, by the headers that each sends; gives what is not answered as expected."""
    wrong: list[tuple[object, ...]] = []
    limit = asyncio.Semaphore(8)

    async def ask(name: str, method: str, path: str, caller: str, namespace: str) -> None:
        headers = {**callers[caller], "Joblog-Request": "1"}
        async with limit:
            reply = await api.http.request(method, path, headers=headers, json={} if method == "POST" else None)
        if may(ROUTES[name], caller, namespace):
            is_right = reply.status_code not in (401, 403)
        else:
            is_right = reply.status_code == (401 if caller in UNKNOWN else 403)
        if not is_right:
            wrong.append((name, method, path, caller, reply.status_code, reply.text[:200]))

    await asyncio.gather(
        *(
            ask(name, method, path, caller, namespace)
            for namespace in (OWN, OTHER)
            for name, method, path in paths_of(api, namespace)
            if namespace == OWN or ROUTES[name][1] == "namespace"
            for caller in callers
        )
    )
    return wrong


async def test_routes(api: Api) -> None:
    callers = make_callers(api.access_store)
    names = (*ROLES_WHOLE, *ROLES_OWN, *UNKNOWN)
    assert not await wrong_answers(api, {name: callers.headers(name) for name in names})


async def test_routes_in_a_session(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else who comes first in the table signs the others out.
    monkeypatch.setattr(api.access_store, "end_session", lambda _: True)
    cookies = make_cookies(api.access_store)
    assert not await wrong_answers(api, {name: {"Cookie": cookie} for name, cookie in cookies.items()})


async def test_another_namespace_answers_alike_whether_a_thing_is_there_or_not(api: Api) -> None:
    callers = make_callers(api.access_store)
    for method in methods():
        if METHODS[short_name(method)][1] != "namespace":
            continue
        absent = request_for(method, OTHER)
        present = request_for(method, OTHER)
        if "run" in method.input_type.fields_by_name:
            present.run = "r"
        elif "id" in method.input_type.fields_by_name:
            present.id.run, present.id.task = "r", "t"
        for caller in ROLES_OWN:
            metadata = callers.metadata(caller)
            answers = [await status_of(api, method, request, metadata) for request in (absent, present)]
            assert answers[0] == answers[1], (short_name(method), caller)
            assert answers[0][0] == grpc.StatusCode.PERMISSION_DENIED
            assert OTHER in answers[0][1]
    for name, method_name, path in paths_of(api, OTHER):
        if ROUTES[name][1] == "namespace":
            there = path.replace("nothing", "r", 1).replace("nothing", "t", 1)
            replies = [
                await api.http.request(method_name, where, headers=callers.headers(f"reader of {OWN}"))
                for where in (path, there)
            ]
            assert {reply.status_code for reply in replies} == {403}, path
            assert replies[0].content == replies[1].content, path


async def test_the_audit_log_is_for_those_who_may_read_it_and_nobody_writes_or_deletes_there(api: Api) -> None:
    callers = make_callers(api.access_store)
    record, secret = api.access_store.create_token("glob", [Grant("reader", ("@*",))], created_by="test")
    callers.tokens["reader of @*"] = Token(record.id, secret).text
    for method in methods():
        if METHODS[short_name(method)][1] != "namespace":
            continue
        request = request_for(method, AUDIT_NAMESPACE)
        for caller in (*ROLES_WHOLE, *ROLES_OWN, "reader of @*"):
            code, _ = await status_of(api, method, request, callers.metadata(caller))
            is_allowed = caller == ADMIN and short_name(method) not in {"Admin/Delete", "Ingest/GetLogTail"}
            assert (code != grpc.StatusCode.PERMISSION_DENIED) == is_allowed, (short_name(method), caller, code)


async def test_a_worker_gets_its_own_spool_keys_alone(api: Api) -> None:
    callers = make_callers(api.access_store)
    for caller, role in (("bound", "writer"), ("bound reader", "reader")):
        record, secret = api.access_store.create_token(caller, [Grant(role)], created_by="test", worker_id="w1")
        callers.tokens[caller] = Token(record.id, secret).text
    for method in methods():
        if not method.name.endswith(("SpoolKey", "SpoolKeys")):
            continue
        for caller, worker_id, is_allowed in (
            ("bound", "w1", True),
            ("bound", "w2", False),
            ("bound", "", False),
            ("bound reader", "w1", False),
            (WRITER, "w1", False),
            (WRITER, "", False),
        ):
            request = request_for(method, OWN)
            request.worker_id = worker_id
            code, _ = await status_of(api, method, request, callers.metadata(caller))
            assert (code != grpc.StatusCode.PERMISSION_DENIED) == is_allowed, (method.name, caller, worker_id)


async def test_a_method_or_route_without_a_rule_is_refused_to_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = make_callers(api.access_store)
    monkeypatch.delitem(rules.GRPC, "/joblog.v1.Access/WhoAmI")
    monkeypatch.delitem(rules.HTTP, "whoami")
    monkeypatch.delitem(rules.HTTP, "create_token")
    method = next(method for method in methods() if short_name(method) == "Access/WhoAmI")
    code, _ = await status_of(api, method, request_for(method, OWN), callers.metadata(ADMIN))
    assert code == grpc.StatusCode.PERMISSION_DENIED
    headers = callers.headers(ADMIN)
    assert (await api.http.get("/api/v1/whoami", headers=headers)).status_code == 403
    assert (await api.http.post("/api/v1/tokens", headers=headers, json={"name": "x"})).status_code == 403


async def test_nothing_of_a_body_is_looked_at_before_the_caller_is_known(api: Api) -> None:
    reply = await api.http.post("/api/v1/tokens", content=b"{not json", headers={"content-type": "application/json"})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_metrics_are_open_where_that_is_set(tmp_path: Path) -> None:
    async with api_in(tmp_path, lambda store: Gate(store, Recogniser(store), open_metrics=True)) as api:
        assert (await api.http.get("/metrics")).status_code == 200
        assert (await api.http.get("/api/v1/status")).status_code == 401
