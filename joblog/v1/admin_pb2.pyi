from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("leader_id", "version", "store_id", "started_ns", "logs_live", "buffer_bytes", "workers", "http_url", "warnings")
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    LOGS_LIVE_FIELD_NUMBER: _ClassVar[int]
    BUFFER_BYTES_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    HTTP_URL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    leader_id: str
    version: str
    store_id: str
    started_ns: int
    logs_live: int
    buffer_bytes: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    http_url: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, leader_id: _Optional[str] = ..., version: _Optional[str] = ..., store_id: _Optional[str] = ..., started_ns: _Optional[int] = ..., logs_live: _Optional[int] = ..., buffer_bytes: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., http_url: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("worker_id", "host", "version", "connected", "last_seen_ns", "spool_bytes", "spool_limit_bytes", "logs", "received_bytes", "lag_ns")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_NS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAG_NS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    host: str
    version: str
    connected: bool
    last_seen_ns: int
    spool_bytes: int
    spool_limit_bytes: int
    logs: int
    received_bytes: int
    lag_ns: int
    def __init__(self, worker_id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., connected: _Optional[bool] = ..., last_seen_ns: _Optional[int] = ..., spool_bytes: _Optional[int] = ..., spool_limit_bytes: _Optional[int] = ..., logs: _Optional[int] = ..., received_bytes: _Optional[int] = ..., lag_ns: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("namespace", "run", "task", "attempt")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    task: str
    attempt: int
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("logs_deleted", "bytes_deleted")
    LOGS_DELETED_FIELD_NUMBER: _ClassVar[int]
    BYTES_DELETED_FIELD_NUMBER: _ClassVar[int]
    logs_deleted: int
    bytes_deleted: int
    def __init__(self, logs_deleted: _Optional[int] = ..., bytes_deleted: _Optional[int] = ...) -> None: ...
