from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Backup(_message.Message):
    __slots__ = ("id", "created_ns", "finished_ns", "store_id", "host", "version", "files", "bytes", "sent_bytes", "kms", "kms_key_id", "reason", "verified_ns", "verified_restored", "verified_problems")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_NS_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    KMS_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_NS_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_RESTORED_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    id: str
    created_ns: int
    finished_ns: int
    store_id: str
    host: str
    version: str
    files: int
    bytes: int
    sent_bytes: int
    kms: str
    kms_key_id: str
    reason: str
    verified_ns: int
    verified_restored: bool
    verified_problems: int
    def __init__(self, id: _Optional[str] = ..., created_ns: _Optional[int] = ..., finished_ns: _Optional[int] = ..., store_id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ..., sent_bytes: _Optional[int] = ..., kms: _Optional[str] = ..., kms_key_id: _Optional[str] = ..., reason: _Optional[str] = ..., verified_ns: _Optional[int] = ..., verified_restored: _Optional[bool] = ..., verified_problems: _Optional[int] = ...) -> None: ...

class UnreadableBackup(_message.Message):
    __slots__ = ("id", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    why: str
    def __init__(self, id: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class BackupJob(_message.Message):
    __slots__ = ("kind", "backup_id", "started_ns", "finished_ns", "done_bytes", "total_bytes", "sent_bytes", "logs", "error", "problems", "reason")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_NS_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    kind: str
    backup_id: str
    started_ns: int
    finished_ns: int
    done_bytes: int
    total_bytes: int
    sent_bytes: int
    logs: int
    error: str
    problems: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, kind: _Optional[str] = ..., backup_id: _Optional[str] = ..., started_ns: _Optional[int] = ..., finished_ns: _Optional[int] = ..., done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., sent_bytes: _Optional[int] = ..., logs: _Optional[int] = ..., error: _Optional[str] = ..., problems: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class CreateBackupRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackupsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBackupsResponse(_message.Message):
    __slots__ = ("target", "backups", "unreadable", "job", "next_backup_ns", "next_verify_ns")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    NEXT_BACKUP_NS_FIELD_NUMBER: _ClassVar[int]
    NEXT_VERIFY_NS_FIELD_NUMBER: _ClassVar[int]
    target: str
    backups: _containers.RepeatedCompositeFieldContainer[Backup]
    unreadable: _containers.RepeatedCompositeFieldContainer[UnreadableBackup]
    job: BackupJob
    next_backup_ns: int
    next_verify_ns: int
    def __init__(self, target: _Optional[str] = ..., backups: _Optional[_Iterable[_Union[Backup, _Mapping]]] = ..., unreadable: _Optional[_Iterable[_Union[UnreadableBackup, _Mapping]]] = ..., job: _Optional[_Union[BackupJob, _Mapping]] = ..., next_backup_ns: _Optional[int] = ..., next_verify_ns: _Optional[int] = ...) -> None: ...

class GetBackupRequest(_message.Message):
    __slots__ = ("backup_id",)
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    backup_id: str
    def __init__(self, backup_id: _Optional[str] = ...) -> None: ...

class GetBackupResponse(_message.Message):
    __slots__ = ("backup", "files", "objects", "stored_bytes", "missing")
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    backup: Backup
    files: _containers.RepeatedCompositeFieldContainer[BackedUpFile]
    objects: int
    stored_bytes: int
    missing: int
    def __init__(self, backup: _Optional[_Union[Backup, _Mapping]] = ..., files: _Optional[_Iterable[_Union[BackedUpFile, _Mapping]]] = ..., objects: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...

class BackedUpFile(_message.Message):
    __slots__ = ("path", "size", "content", "pieces")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    content: bytes
    pieces: int
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., content: _Optional[bytes] = ..., pieces: _Optional[int] = ...) -> None: ...

class VerifyBackupRequest(_message.Message):
    __slots__ = ("backup_id", "restore")
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    backup_id: str
    restore: bool
    def __init__(self, backup_id: _Optional[str] = ..., restore: _Optional[bool] = ...) -> None: ...

class PruneBackupsRequest(_message.Message):
    __slots__ = ("keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly", "drop", "dry_run")
    KEEP_LAST_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAYS_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAILY_FIELD_NUMBER: _ClassVar[int]
    KEEP_WEEKLY_FIELD_NUMBER: _ClassVar[int]
    KEEP_MONTHLY_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    keep_last: int
    keep_days: float
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    drop: _containers.RepeatedScalarFieldContainer[str]
    dry_run: bool
    def __init__(self, keep_last: _Optional[int] = ..., keep_days: _Optional[float] = ..., keep_daily: _Optional[int] = ..., keep_weekly: _Optional[int] = ..., keep_monthly: _Optional[int] = ..., drop: _Optional[_Iterable[str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class KeptBackup(_message.Message):
    __slots__ = ("id", "rules")
    ID_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    id: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ...) -> None: ...

class PruneBackupsResponse(_message.Message):
    __slots__ = ("kept", "deleted", "deleted_objects", "deleted_bytes", "waits_for")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    DELETED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    DELETED_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    kept: _containers.RepeatedCompositeFieldContainer[KeptBackup]
    deleted: _containers.RepeatedScalarFieldContainer[str]
    deleted_objects: int
    deleted_bytes: int
    waits_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kept: _Optional[_Iterable[_Union[KeptBackup, _Mapping]]] = ..., deleted: _Optional[_Iterable[str]] = ..., deleted_objects: _Optional[int] = ..., deleted_bytes: _Optional[int] = ..., waits_for: _Optional[_Iterable[str]] = ...) -> None: ...

class RestoreRunsRequest(_message.Message):
    __slots__ = ("backup_id", "runs")
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    backup_id: str
    runs: _containers.RepeatedCompositeFieldContainer[RunName]
    def __init__(self, backup_id: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[RunName, _Mapping]]] = ...) -> None: ...

class RunName(_message.Message):
    __slots__ = ("namespace", "run")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...
