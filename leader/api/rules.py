"""What each method and each HTTP route asks for. What is not listed here is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joblog.leader.access.roles import Permission


class Where(StrEnum):
    """Where the permission must be held."""

    # In the namespace that the request names.
    NAMESPACE = "namespace"
    # On the whole leader.
    WHOLE = "whole"
    # In some namespace; what is answered depends on which.
    SOMEWHERE = "somewhere"
    # As SOMEWHERE; the method shows only what belongs to namespaces where it is held.
    FILTERED = "filtered"
    # As SOMEWHERE; each log that is opened on the stream is checked.
    STREAM = "stream"
    # As SOMEWHERE, and only for the worker that the request names, or for who could make its token.
    OWN_WORKER = "own worker"
    # A worker that shows its certificate.
    WORKER = "worker"
    # Whoever is recognised.
    ANYBODY = "anybody"
    # Everybody, also who is not recognised.
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of the caller.

    field: of a gRPC request, the namespace (`id.namespace`) or the worker's id; in HTTP both are path parameters.
    act: its name in the audit log; empty: not written there. changes: it is on disk there before it is done.
    """

    permission: Permission | None
    where: Where
    field: str = "namespace"
    act: str = ""
    changes: bool = False


def _keys(act: str) -> Rule:
    return Rule(Permission.KEYS_MANAGE, Where.WHOLE, act=act, changes=True)


def _backups(act: str) -> Rule:
    return Rule(Permission.LEADER_OPERATE, Where.WHOLE, act=act, changes=True)


_SEE = Rule(Permission.RUN_SEE, Where.NAMESPACE)
_SEE_LOG = Rule(Permission.RUN_SEE, Where.NAMESPACE, "id.namespace")
_READ = Rule(Permission.LOG_READ, Where.NAMESPACE, "id.namespace", act="log.read")
_VERIFY = Rule(Permission.LOG_VERIFY, Where.NAMESPACE, "id.namespace", act="log.verify")
_SEARCH = Rule(Permission.LOG_READ, Where.NAMESPACE, act="log.search")
_DELETE = Rule(Permission.LOG_DELETE, Where.NAMESPACE, act="log.delete", changes=True)
_LIST_NAMESPACES = Rule(Permission.RUN_SEE, Where.FILTERED)
_STATUS = Rule(Permission.STATUS_SEE, Where.SOMEWHERE)
_SPOOL_KEYS = Rule(Permission.LOG_WRITE, Where.OWN_WORKER, "worker_id")
_WHO_AM_I = Rule(None, Where.ANYBODY)
# An admin of some namespaces sees, makes and revokes tokens for these; the service looks at the token's grants.
_TOKENS = Rule(Permission.ACCESS_MANAGE, Where.FILTERED)
_CERTIFICATES = Rule(Permission.WORKERS_MANAGE, Where.WHOLE)
_OPERATE = Rule(Permission.LEADER_OPERATE, Where.WHOLE)
_RUN_RETENTION = Rule(Permission.LEADER_OPERATE, Where.WHOLE, act="retention.run", changes=True)
# Written to the audit log where it is done, with all that is restored and deleted.
_CHANGE_BACKUPS = _OPERATE
_GET_KEYS = Rule(Permission.KEYS_MANAGE, Where.WHOLE)
# Written to the audit log where it is done, with the place and the rule.
_ADOPT = _OPERATE
# Written to the audit log where it is done, with what the hold is on.
_HOLD = Rule(Permission.HOLD_MANAGE, Where.WHOLE)
_PUBLIC = Rule(None, Where.PUBLIC)

GRPC: dict[str, Rule] = {
    "/joblog.v1.Logs/ListNamespaces": _LIST_NAMESPACES,
    "/joblog.v1.Logs/ListRuns": _SEE,
    "/joblog.v1.Logs/GetRun": _SEE,
    "/joblog.v1.Logs/ListLogs": _SEE,
    "/joblog.v1.Logs/GetLog": _SEE_LOG,
    "/joblog.v1.Logs/Read": _READ,
    "/joblog.v1.Logs/Verify": _VERIFY,
    "/joblog.v1.Logs/Search": _SEARCH,
    "/joblog.v1.Ingest/Push": Rule(Permission.LOG_WRITE, Where.STREAM),
    "/joblog.v1.Ingest/KeepSpoolKey": _SPOOL_KEYS,
    "/joblog.v1.Ingest/GetSpoolKeys": _SPOOL_KEYS,
    "/joblog.v1.Ingest/DropSpoolKeys": _SPOOL_KEYS,
    # Its own log's: the service asks for the writer id, which nobody else knows.
    "/joblog.v1.Ingest/GetLogTail": Rule(Permission.LOG_WRITE, Where.NAMESPACE, "id.namespace", act="log.resume"),
    "/joblog.v1.Admin/GetStatus": _STATUS,
    "/joblog.v1.Admin/Delete": _DELETE,
    "/joblog.v1.Adoption/Adopt": _ADOPT,
    "/joblog.v1.Keys/GetKeys": _GET_KEYS,
    "/joblog.v1.Keys/RotateKeys": _keys("keys.rotate"),
    "/joblog.v1.Keys/RewrapKeys": _keys("keys.rewrap"),
    "/joblog.v1.Keys/ExportKeys": _keys("keys.export"),
    "/joblog.v1.Backups/CreateBackup": _backups("backup.create"),
    "/joblog.v1.Backups/ListBackups": _OPERATE,
    "/joblog.v1.Backups/GetBackup": _OPERATE,
    "/joblog.v1.Backups/VerifyBackup": _backups("backup.verify"),
    "/joblog.v1.Backups/PruneBackups": _CHANGE_BACKUPS,
    "/joblog.v1.Backups/RestoreRuns": _CHANGE_BACKUPS,
    "/joblog.v1.Retention/GetRetention": _OPERATE,
    "/joblog.v1.Retention/PreviewRetention": _SEE,
    "/joblog.v1.Retention/RunRetention": _RUN_RETENTION,
    "/joblog.v1.Retention/SetHold": _HOLD,
    "/joblog.v1.Retention/LiftHold": _HOLD,
    "/joblog.v1.Retention/ListHolds": _HOLD,
    "/joblog.v1.Access/Join": Rule(Permission.LOG_WRITE, Where.SOMEWHERE),
    "/joblog.v1.Access/Renew": Rule(None, Where.WORKER),
    "/joblog.v1.Access/WhoAmI": _WHO_AM_I,
    "/joblog.v1.Access/CreateSignInCode": Rule(None, Where.ANYBODY, act="login.code"),
    "/joblog.v1.Access/CreateToken": _TOKENS,
    "/joblog.v1.Access/ListTokens": _TOKENS,
    "/joblog.v1.Access/RevokeToken": _TOKENS,
    "/joblog.v1.Access/ListCertificates": _CERTIFICATES,
    "/joblog.v1.Access/RevokeCertificate": _CERTIFICATES,
}

# By the names of routes; `namespace` is a path parameter.
HTTP: dict[str, Rule] = {
    "healthz": _PUBLIC,
    "readyz": _PUBLIC,
    "openapi": _PUBLIC,
    "ui_file": _PUBLIC,
    "ui_page": _PUBLIC,
    "metrics": Rule(Permission.METRICS_READ, Where.WHOLE),
    "status": _STATUS,
    "whoami": _WHO_AM_I,
    # What somebody signs in with is looked at by the route; whoever has no session may sign out too.
    "get_session": _PUBLIC,
    "create_session": _PUBLIC,
    "delete_session": _PUBLIC,
    "start_oidc": _PUBLIC,
    "finish_oidc": _PUBLIC,
    "list_namespaces": _LIST_NAMESPACES,
    "list_runs": _SEE,
    "get_run": _SEE,
    "list_logs": _SEE,
    "list_jobs": _SEE,
    "get_job": _SEE,
    "get_log": _SEE,
    "get_events": _SEE,
    "get_death": _READ,
    "verify": _VERIFY,
    "get_bytes": _READ,
    "get_lines": _READ,
    "get_raw": _READ,
    "get_marks": _SEARCH,
    "search_log": _SEARCH,
    "search_run": _SEARCH,
    "search_namespace": _SEARCH,
    "delete_run": _DELETE,
    "delete_task": _DELETE,
    "delete_log": _DELETE,
    "read_audit": Rule(Permission.AUDIT_READ, Where.WHOLE, act="audit.read"),
    "list_tokens": _TOKENS,
    "create_token": _TOKENS,
    "revoke_token": _TOKENS,
    "list_certificates": _CERTIFICATES,
    "revoke_certificate": _CERTIFICATES,
    "list_workers": _CERTIFICATES,
    "get_storage": _OPERATE,
    "count_archive": _OPERATE,
    "list_backups": _OPERATE,
    "get_backup": _OPERATE,
    "create_backup": _backups("backup.create"),
    "verify_backup": _backups("backup.verify"),
    "prune_backups": _CHANGE_BACKUPS,
    "restore_runs": _CHANGE_BACKUPS,
    "get_keys": _GET_KEYS,
    "rotate_keys": _keys("keys.rotate"),
    "get_retention": _OPERATE,
    "preview_retention": _OPERATE,
    "preview_namespace": _SEE,
    "run_retention": _RUN_RETENTION,
    "list_holds": _HOLD,
    "set_hold": _HOLD,
    "lift_hold": _HOLD,
}
