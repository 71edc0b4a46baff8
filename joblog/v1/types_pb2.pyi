from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_UNSPECIFIED: _ClassVar[Codec]
    CODEC_NONE: _ClassVar[Codec]
    CODEC_ZSTD: _ClassVar[Codec]

class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_UNSPECIFIED: _ClassVar[Stream]
    STREAM_STDOUT: _ClassVar[Stream]
    STREAM_STDERR: _ClassVar[Stream]

class GapReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_REASON_UNSPECIFIED: _ClassVar[GapReason]
    GAP_REASON_SPOOL_FULL: _ClassVar[GapReason]
    GAP_REASON_LOG_LIMIT: _ClassVar[GapReason]
    GAP_REASON_LOST: _ClassVar[GapReason]
    GAP_REASON_BEFORE_FIRST_LOOK: _ClassVar[GapReason]
    GAP_REASON_SOURCE_CHANGED: _ClassVar[GapReason]

class LogState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_STATE_UNSPECIFIED: _ClassVar[LogState]
    LOG_STATE_LIVE: _ClassVar[LogState]
    LOG_STATE_COMPLETED: _ClassVar[LogState]
    LOG_STATE_INTERRUPTED: _ClassVar[LogState]

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_BUFFER: _ClassVar[Tier]
    TIER_ARCHIVE: _ClassVar[Tier]

class OutcomeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_KIND_UNSPECIFIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_EXITED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_SIGNALED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_NOT_STARTED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_SUPERVISOR_DIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_TIMED_OUT: _ClassVar[OutcomeKind]
    OUTCOME_KIND_EVICTED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_NODE_LOST: _ClassVar[OutcomeKind]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_LIVE: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_INTERRUPTED: _ClassVar[RunState]
CODEC_UNSPECIFIED: Codec
CODEC_NONE: Codec
CODEC_ZSTD: Codec
STREAM_UNSPECIFIED: Stream
STREAM_STDOUT: Stream
STREAM_STDERR: Stream
GAP_REASON_UNSPECIFIED: GapReason
GAP_REASON_SPOOL_FULL: GapReason
GAP_REASON_LOG_LIMIT: GapReason
GAP_REASON_LOST: GapReason
GAP_REASON_BEFORE_FIRST_LOOK: GapReason
GAP_REASON_SOURCE_CHANGED: GapReason
LOG_STATE_UNSPECIFIED: LogState
LOG_STATE_LIVE: LogState
LOG_STATE_COMPLETED: LogState
LOG_STATE_INTERRUPTED: LogState
TIER_UNSPECIFIED: Tier
TIER_BUFFER: Tier
TIER_ARCHIVE: Tier
OUTCOME_KIND_UNSPECIFIED: OutcomeKind
OUTCOME_KIND_EXITED: OutcomeKind
OUTCOME_KIND_SIGNALED: OutcomeKind
OUTCOME_KIND_NOT_STARTED: OutcomeKind
OUTCOME_KIND_SUPERVISOR_DIED: OutcomeKind
OUTCOME_KIND_TIMED_OUT: OutcomeKind
OUTCOME_KIND_EVICTED: OutcomeKind
OUTCOME_KIND_NODE_LOST: OutcomeKind
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_LIVE: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_INTERRUPTED: RunState

class LogId(_message.Message):
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

class Batch(_message.Message):
    __slots__ = ("raw_length", "codec", "payload", "crc32c", "newlines", "first_time_ns", "frames")
    RAW_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    raw_length: int
    codec: Codec
    payload: bytes
    crc32c: int
    newlines: int
    first_time_ns: int
    frames: bytes
    def __init__(self, raw_length: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., payload: _Optional[bytes] = ..., crc32c: _Optional[int] = ..., newlines: _Optional[int] = ..., first_time_ns: _Optional[int] = ..., frames: _Optional[bytes] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("offset", "length", "reason", "newlines")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    offset: int
    length: int
    reason: GapReason
    newlines: int
    def __init__(self, offset: _Optional[int] = ..., length: _Optional[int] = ..., reason: _Optional[_Union[GapReason, str]] = ..., newlines: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("offset", "time_ns", "kind", "message")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    offset: int
    time_ns: int
    kind: str
    message: str
    def __init__(self, offset: _Optional[int] = ..., time_ns: _Optional[int] = ..., kind: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("kind", "exit_code", "signal", "oom_killed", "started_ns", "ended_ns", "cpu_seconds", "peak_memory_bytes", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    OOM_KILLED_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: OutcomeKind
    exit_code: int
    signal: int
    oom_killed: bool
    started_ns: int
    ended_ns: int
    cpu_seconds: float
    peak_memory_bytes: int
    message: str
    def __init__(self, kind: _Optional[_Union[OutcomeKind, str]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., oom_killed: _Optional[bool] = ..., started_ns: _Optional[int] = ..., ended_ns: _Optional[int] = ..., cpu_seconds: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("length", "sha256", "newlines", "gaps")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    length: int
    sha256: bytes
    newlines: int
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    def __init__(self, length: _Optional[int] = ..., sha256: _Optional[bytes] = ..., newlines: _Optional[int] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ...) -> None: ...

class TaskStart(_message.Message):
    __slots__ = ("command", "host", "cwd", "started_ns", "labels", "worker_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedScalarFieldContainer[str]
    host: str
    cwd: str
    started_ns: int
    labels: _containers.ScalarMap[str, str]
    worker_id: str
    def __init__(self, command: _Optional[_Iterable[str]] = ..., host: _Optional[str] = ..., cwd: _Optional[str] = ..., started_ns: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., worker_id: _Optional[str] = ...) -> None: ...

class Adopted(_message.Message):
    __slots__ = ("url", "bytes", "etag", "version_id", "gzip", "modified_ns", "adopted_ns")
    URL_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    GZIP_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_NS_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_NS_FIELD_NUMBER: _ClassVar[int]
    url: str
    bytes: int
    etag: str
    version_id: str
    gzip: bool
    modified_ns: int
    adopted_ns: int
    def __init__(self, url: _Optional[str] = ..., bytes: _Optional[int] = ..., etag: _Optional[str] = ..., version_id: _Optional[str] = ..., gzip: _Optional[bool] = ..., modified_ns: _Optional[int] = ..., adopted_ns: _Optional[int] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("began_ns", "ended_ns", "complete", "unchanged", "problem_count", "problem", "sealed", "length", "sha256", "gap_count", "tier", "archived_offset", "stored_bytes", "says", "outdated")
    BEGAN_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    GAP_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SAYS_FIELD_NUMBER: _ClassVar[int]
    OUTDATED_FIELD_NUMBER: _ClassVar[int]
    began_ns: int
    ended_ns: int
    complete: bool
    unchanged: bool
    problem_count: int
    problem: str
    sealed: bool
    length: int
    sha256: bytes
    gap_count: int
    tier: Tier
    archived_offset: int
    stored_bytes: int
    says: str
    outdated: str
    def __init__(self, began_ns: _Optional[int] = ..., ended_ns: _Optional[int] = ..., complete: _Optional[bool] = ..., unchanged: _Optional[bool] = ..., problem_count: _Optional[int] = ..., problem: _Optional[str] = ..., sealed: _Optional[bool] = ..., length: _Optional[int] = ..., sha256: _Optional[bytes] = ..., gap_count: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., archived_offset: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., says: _Optional[str] = ..., outdated: _Optional[str] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("id", "uid", "number", "writer_id", "state", "tier", "created_ns", "completed_ns", "start", "outcome", "seal", "next_offset", "first_offset", "newlines", "stored_bytes", "last_append_ns", "gaps", "archived_offset", "token_id", "adopted")
    ID_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    WRITER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_NS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    FIRST_OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_APPEND_NS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    id: LogId
    uid: bytes
    number: int
    writer_id: bytes
    state: LogState
    tier: Tier
    created_ns: int
    completed_ns: int
    start: TaskStart
    outcome: Outcome
    seal: Seal
    next_offset: int
    first_offset: int
    newlines: int
    stored_bytes: int
    last_append_ns: int
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    archived_offset: int
    token_id: str
    adopted: Adopted
    def __init__(self, id: _Optional[_Union[LogId, _Mapping]] = ..., uid: _Optional[bytes] = ..., number: _Optional[int] = ..., writer_id: _Optional[bytes] = ..., state: _Optional[_Union[LogState, str]] = ..., tier: _Optional[_Union[Tier, str]] = ..., created_ns: _Optional[int] = ..., completed_ns: _Optional[int] = ..., start: _Optional[_Union[TaskStart, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ..., next_offset: _Optional[int] = ..., first_offset: _Optional[int] = ..., newlines: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., last_append_ns: _Optional[int] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., archived_offset: _Optional[int] = ..., token_id: _Optional[str] = ..., adopted: _Optional[_Union[Adopted, _Mapping]] = ...) -> None: ...

class RunRecord(_message.Message):
    __slots__ = ("namespace", "run", "state", "created_ns", "completed_ns", "labels", "logs_live", "logs_completed", "logs_interrupted", "tasks_failed", "completed_bytes", "tasks_live", "tasks_succeeded", "tasks_interrupted", "stored_bytes", "kept")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_NS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LOGS_LIVE_FIELD_NUMBER: _ClassVar[int]
    LOGS_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    LOGS_INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    TASKS_FAILED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TASKS_LIVE_FIELD_NUMBER: _ClassVar[int]
    TASKS_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    TASKS_INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    state: RunState
    created_ns: int
    completed_ns: int
    labels: _containers.ScalarMap[str, str]
    logs_live: int
    logs_completed: int
    logs_interrupted: int
    tasks_failed: int
    completed_bytes: int
    tasks_live: int
    tasks_succeeded: int
    tasks_interrupted: int
    stored_bytes: int
    kept: Kept
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., created_ns: _Optional[int] = ..., completed_ns: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., logs_live: _Optional[int] = ..., logs_completed: _Optional[int] = ..., logs_interrupted: _Optional[int] = ..., tasks_failed: _Optional[int] = ..., completed_bytes: _Optional[int] = ..., tasks_live: _Optional[int] = ..., tasks_succeeded: _Optional[int] = ..., tasks_interrupted: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., kept: _Optional[_Union[Kept, _Mapping]] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ("policy", "due_ns", "held_by", "says")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DUE_NS_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    SAYS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    due_ns: int
    held_by: _containers.RepeatedScalarFieldContainer[str]
    says: str
    def __init__(self, policy: _Optional[str] = ..., due_ns: _Optional[int] = ..., held_by: _Optional[_Iterable[str]] = ..., says: _Optional[str] = ...) -> None: ...
