from joblog.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_CODE_UNSPECIFIED: _ClassVar[RefusalCode]
    REFUSAL_CODE_INVALID: _ClassVar[RefusalCode]
    REFUSAL_CODE_OFFSET: _ClassVar[RefusalCode]
    REFUSAL_CODE_CORRUPT: _ClassVar[RefusalCode]
    REFUSAL_CODE_OTHER_WRITER: _ClassVar[RefusalCode]
    REFUSAL_CODE_COMPLETED: _ClassVar[RefusalCode]
    REFUSAL_CODE_DELETED: _ClassVar[RefusalCode]
    REFUSAL_CODE_SEAL: _ClassVar[RefusalCode]
    REFUSAL_CODE_UNKNOWN_HANDLE: _ClassVar[RefusalCode]
    REFUSAL_CODE_UNAVAILABLE: _ClassVar[RefusalCode]
    REFUSAL_CODE_DENIED: _ClassVar[RefusalCode]
    REFUSAL_CODE_QUOTA: _ClassVar[RefusalCode]
REFUSAL_CODE_UNSPECIFIED: RefusalCode
REFUSAL_CODE_INVALID: RefusalCode
REFUSAL_CODE_OFFSET: RefusalCode
REFUSAL_CODE_CORRUPT: RefusalCode
REFUSAL_CODE_OTHER_WRITER: RefusalCode
REFUSAL_CODE_COMPLETED: RefusalCode
REFUSAL_CODE_DELETED: RefusalCode
REFUSAL_CODE_SEAL: RefusalCode
REFUSAL_CODE_UNKNOWN_HANDLE: RefusalCode
REFUSAL_CODE_UNAVAILABLE: RefusalCode
REFUSAL_CODE_DENIED: RefusalCode
REFUSAL_CODE_QUOTA: RefusalCode

class PushRequest(_message.Message):
    __slots__ = ("hello", "opens", "appends", "events", "closes", "stats", "refills")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPENS_FIELD_NUMBER: _ClassVar[int]
    APPENDS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CLOSES_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    REFILLS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    opens: _containers.RepeatedCompositeFieldContainer[OpenLog]
    appends: _containers.RepeatedCompositeFieldContainer[Append]
    events: _containers.RepeatedCompositeFieldContainer[LogEvent]
    closes: _containers.RepeatedCompositeFieldContainer[CloseLog]
    stats: WorkerStats
    refills: _containers.RepeatedCompositeFieldContainer[Append]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., opens: _Optional[_Iterable[_Union[OpenLog, _Mapping]]] = ..., appends: _Optional[_Iterable[_Union[Append, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[LogEvent, _Mapping]]] = ..., closes: _Optional[_Iterable[_Union[CloseLog, _Mapping]]] = ..., stats: _Optional[_Union[WorkerStats, _Mapping]] = ..., refills: _Optional[_Iterable[_Union[Append, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("worker_id", "host", "version", "protocol")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    host: str
    version: str
    protocol: int
    def __init__(self, worker_id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., protocol: _Optional[int] = ...) -> None: ...

class OpenLog(_message.Message):
    __slots__ = ("handle", "id", "writer_id", "start")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    WRITER_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    handle: int
    id: _types_pb2.LogId
    writer_id: bytes
    start: _types_pb2.TaskStart
    def __init__(self, handle: _Optional[int] = ..., id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., writer_id: _Optional[bytes] = ..., start: _Optional[_Union[_types_pb2.TaskStart, _Mapping]] = ...) -> None: ...

class Append(_message.Message):
    __slots__ = ("handle", "offset", "batch", "gap")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    handle: int
    offset: int
    batch: _types_pb2.Batch
    gap: _types_pb2.Gap
    def __init__(self, handle: _Optional[int] = ..., offset: _Optional[int] = ..., batch: _Optional[_Union[_types_pb2.Batch, _Mapping]] = ..., gap: _Optional[_Union[_types_pb2.Gap, _Mapping]] = ...) -> None: ...

class LogEvent(_message.Message):
    __slots__ = ("handle", "event")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    handle: int
    event: _types_pb2.Event
    def __init__(self, handle: _Optional[int] = ..., event: _Optional[_Union[_types_pb2.Event, _Mapping]] = ...) -> None: ...

class CloseLog(_message.Message):
    __slots__ = ("handle", "length", "sha256", "newlines", "outcome")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    handle: int
    length: int
    sha256: bytes
    newlines: int
    outcome: _types_pb2.Outcome
    def __init__(self, handle: _Optional[int] = ..., length: _Optional[int] = ..., sha256: _Optional[bytes] = ..., newlines: _Optional[int] = ..., outcome: _Optional[_Union[_types_pb2.Outcome, _Mapping]] = ...) -> None: ...

class WorkerStats(_message.Message):
    __slots__ = ("spool_bytes", "spool_limit_bytes", "logs")
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    spool_bytes: int
    spool_limit_bytes: int
    logs: int
    def __init__(self, spool_bytes: _Optional[int] = ..., spool_limit_bytes: _Optional[int] = ..., logs: _Optional[int] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("welcome", "opened", "acks", "refusals", "closed", "steers", "resends")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    STEERS_FIELD_NUMBER: _ClassVar[int]
    RESENDS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    opened: _containers.RepeatedCompositeFieldContainer[Opened]
    acks: _containers.RepeatedCompositeFieldContainer[Ack]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    closed: _containers.RepeatedCompositeFieldContainer[Closed]
    steers: _containers.RepeatedCompositeFieldContainer[Steer]
    resends: _containers.RepeatedCompositeFieldContainer[Resend]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., opened: _Optional[_Iterable[_Union[Opened, _Mapping]]] = ..., acks: _Optional[_Iterable[_Union[Ack, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., closed: _Optional[_Iterable[_Union[Closed, _Mapping]]] = ..., steers: _Optional[_Iterable[_Union[Steer, _Mapping]]] = ..., resends: _Optional[_Iterable[_Union[Resend, _Mapping]]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("leader_id", "version", "window_bytes", "max_batch_bytes", "max_message_bytes", "heartbeat_seconds", "lost_after_seconds", "gather_seconds", "gather_bytes", "keep_until_archived", "incarnation")
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LOST_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    GATHER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    GATHER_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEEP_UNTIL_ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    leader_id: str
    version: str
    window_bytes: int
    max_batch_bytes: int
    max_message_bytes: int
    heartbeat_seconds: float
    lost_after_seconds: float
    gather_seconds: float
    gather_bytes: int
    keep_until_archived: bool
    incarnation: int
    def __init__(self, leader_id: _Optional[str] = ..., version: _Optional[str] = ..., window_bytes: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., heartbeat_seconds: _Optional[float] = ..., lost_after_seconds: _Optional[float] = ..., gather_seconds: _Optional[float] = ..., gather_bytes: _Optional[int] = ..., keep_until_archived: _Optional[bool] = ..., incarnation: _Optional[int] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("handle", "id", "number", "next_offset", "completed", "watched", "sealed", "newlines")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    WATCHED_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    handle: int
    id: _types_pb2.LogId
    number: int
    next_offset: int
    completed: bool
    watched: bool
    sealed: bool
    newlines: int
    def __init__(self, handle: _Optional[int] = ..., id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., number: _Optional[int] = ..., next_offset: _Optional[int] = ..., completed: _Optional[bool] = ..., watched: _Optional[bool] = ..., sealed: _Optional[bool] = ..., newlines: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("handle", "stored_offset", "archived_offset", "sealed")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    STORED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    handle: int
    stored_offset: int
    archived_offset: int
    sealed: bool
    def __init__(self, handle: _Optional[int] = ..., stored_offset: _Optional[int] = ..., archived_offset: _Optional[int] = ..., sealed: _Optional[bool] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("handle", "code", "message", "next_offset", "permanent", "retry_seconds")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    handle: int
    code: RefusalCode
    message: str
    next_offset: int
    permanent: bool
    retry_seconds: float
    def __init__(self, handle: _Optional[int] = ..., code: _Optional[_Union[RefusalCode, str]] = ..., message: _Optional[str] = ..., next_offset: _Optional[int] = ..., permanent: _Optional[bool] = ..., retry_seconds: _Optional[float] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ("handle", "seal")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    handle: int
    seal: _types_pb2.Seal
    def __init__(self, handle: _Optional[int] = ..., seal: _Optional[_Union[_types_pb2.Seal, _Mapping]] = ...) -> None: ...

class Steer(_message.Message):
    __slots__ = ("handle", "watched")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    WATCHED_FIELD_NUMBER: _ClassVar[int]
    handle: int
    watched: bool
    def __init__(self, handle: _Optional[int] = ..., watched: _Optional[bool] = ...) -> None: ...

class Resend(_message.Message):
    __slots__ = ("handle", "offset", "length")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    handle: int
    offset: int
    length: int
    def __init__(self, handle: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class SpoolKey(_message.Message):
    __slots__ = ("key", "kept_ns")
    KEY_FIELD_NUMBER: _ClassVar[int]
    KEPT_NS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    kept_ns: int
    def __init__(self, key: _Optional[bytes] = ..., kept_ns: _Optional[int] = ...) -> None: ...

class KeepSpoolKeyRequest(_message.Message):
    __slots__ = ("worker_id", "key")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    key: bytes
    def __init__(self, worker_id: _Optional[str] = ..., key: _Optional[bytes] = ...) -> None: ...

class KeepSpoolKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetSpoolKeysRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class GetSpoolKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[SpoolKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[SpoolKey, _Mapping]]] = ...) -> None: ...

class DropSpoolKeysRequest(_message.Message):
    __slots__ = ("worker_id", "key_ids")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_IDS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    key_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, worker_id: _Optional[str] = ..., key_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DropSpoolKeysResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLogTailRequest(_message.Message):
    __slots__ = ("id", "writer_id", "limit_bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    WRITER_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: _types_pb2.LogId
    writer_id: bytes
    limit_bytes: int
    def __init__(self, id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., writer_id: _Optional[bytes] = ..., limit_bytes: _Optional[int] = ...) -> None: ...

class GetLogTailResponse(_message.Message):
    __slots__ = ("found", "completed", "id", "next_offset", "newlines", "data", "times_ns", "lengths")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMES_NS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    found: bool
    completed: bool
    id: _types_pb2.LogId
    next_offset: int
    newlines: int
    data: bytes
    times_ns: _containers.RepeatedScalarFieldContainer[int]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, found: _Optional[bool] = ..., completed: _Optional[bool] = ..., id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., next_offset: _Optional[int] = ..., newlines: _Optional[int] = ..., data: _Optional[bytes] = ..., times_ns: _Optional[_Iterable[int]] = ..., lengths: _Optional[_Iterable[int]] = ...) -> None: ...

class KeptSpoolKeys(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[KeptSpoolKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[KeptSpoolKey, _Mapping]]] = ...) -> None: ...

class KeptSpoolKey(_message.Message):
    __slots__ = ("key_id", "kept_ns", "wrapped")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KEPT_NS_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_FIELD_NUMBER: _ClassVar[int]
    key_id: bytes
    kept_ns: int
    wrapped: bytes
    def __init__(self, key_id: _Optional[bytes] = ..., kept_ns: _Optional[int] = ..., wrapped: _Optional[bytes] = ...) -> None: ...
