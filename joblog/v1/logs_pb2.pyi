from joblog.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListNamespacesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListNamespacesResponse(_message.Message):
    __slots__ = ("namespaces", "next_page_token")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("namespace", "states", "labels", "created_from_ns", "created_before_ns", "page_size", "page_token")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_NS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_NS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    states: _containers.RepeatedScalarFieldContainer[_types_pb2.RunState]
    labels: _containers.ScalarMap[str, str]
    created_from_ns: int
    created_before_ns: int
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_types_pb2.RunState, str]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., created_from_ns: _Optional[int] = ..., created_before_ns: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_types_pb2.RunRecord]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_types_pb2.RunRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("namespace", "run")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...

class ListLogsRequest(_message.Message):
    __slots__ = ("namespace", "run", "task", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    task: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., task: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLogsResponse(_message.Message):
    __slots__ = ("logs", "next_page_token", "kept")
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[_types_pb2.LogRecord]
    next_page_token: str
    kept: _types_pb2.Kept
    def __init__(self, logs: _Optional[_Iterable[_Union[_types_pb2.LogRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., kept: _Optional[_Union[_types_pb2.Kept, _Mapping]] = ...) -> None: ...

class GetLogRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: _types_pb2.LogId
    def __init__(self, id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ...) -> None: ...

class GetLogResponse(_message.Message):
    __slots__ = ("log", "events", "kept", "verified")
    LOG_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    log: _types_pb2.LogRecord
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.Event]
    kept: _types_pb2.Kept
    verified: _types_pb2.Verification
    def __init__(self, log: _Optional[_Union[_types_pb2.LogRecord, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_types_pb2.Event, _Mapping]]] = ..., kept: _Optional[_Union[_types_pb2.Kept, _Mapping]] = ..., verified: _Optional[_Union[_types_pb2.Verification, _Mapping]] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("id", "offset", "line", "last_lines", "last_bytes", "limit_bytes", "stream", "with_frames", "follow")
    ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    LAST_LINES_FIELD_NUMBER: _ClassVar[int]
    LAST_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    WITH_FRAMES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    id: _types_pb2.LogId
    offset: int
    line: int
    last_lines: int
    last_bytes: int
    limit_bytes: int
    stream: _types_pb2.Stream
    with_frames: bool
    follow: bool
    def __init__(self, id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., offset: _Optional[int] = ..., line: _Optional[int] = ..., last_lines: _Optional[int] = ..., last_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., stream: _Optional[_Union[_types_pb2.Stream, str]] = ..., with_frames: _Optional[bool] = ..., follow: _Optional[bool] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("offset", "data", "next_offset", "frames", "gap", "state", "tier", "first_offset", "events", "line")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    FIRST_OFFSET_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    next_offset: int
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    gap: _types_pb2.Gap
    state: _types_pb2.LogState
    tier: _types_pb2.Tier
    first_offset: int
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.Event]
    line: int
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., next_offset: _Optional[int] = ..., frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ..., gap: _Optional[_Union[_types_pb2.Gap, _Mapping]] = ..., state: _Optional[_Union[_types_pb2.LogState, str]] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., first_offset: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_types_pb2.Event, _Mapping]]] = ..., line: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("stream", "time_ns", "offset", "length")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    stream: _types_pb2.Stream
    time_ns: int
    offset: int
    length: int
    def __init__(self, stream: _Optional[_Union[_types_pb2.Stream, str]] = ..., time_ns: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: _types_pb2.LogId
    def __init__(self, id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("bytes_done", "bytes_total", "done", "complete", "expected", "found", "problems", "unchanged", "verified")
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    bytes_done: int
    bytes_total: int
    done: bool
    complete: bool
    expected: _types_pb2.Seal
    found: _types_pb2.Seal
    problems: _containers.RepeatedScalarFieldContainer[str]
    unchanged: bool
    verified: _types_pb2.Verification
    def __init__(self, bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ..., done: _Optional[bool] = ..., complete: _Optional[bool] = ..., expected: _Optional[_Union[_types_pb2.Seal, _Mapping]] = ..., found: _Optional[_Union[_types_pb2.Seal, _Mapping]] = ..., problems: _Optional[_Iterable[str]] = ..., unchanged: _Optional[bool] = ..., verified: _Optional[_Union[_types_pb2.Verification, _Mapping]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("namespace", "run", "task", "attempt", "pattern", "regex", "ignore_case", "stream", "context_lines", "max_hits", "max_hits_per_log", "max_seconds", "from_offset", "until_offset", "states", "labels", "created_from_ns", "created_before_ns", "run_text", "max_runs")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LINES_FIELD_NUMBER: _ClassVar[int]
    MAX_HITS_FIELD_NUMBER: _ClassVar[int]
    MAX_HITS_PER_LOG_FIELD_NUMBER: _ClassVar[int]
    MAX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    UNTIL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_NS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_NS_FIELD_NUMBER: _ClassVar[int]
    RUN_TEXT_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    task: str
    attempt: int
    pattern: str
    regex: bool
    ignore_case: bool
    stream: _types_pb2.Stream
    context_lines: int
    max_hits: int
    max_hits_per_log: int
    max_seconds: float
    from_offset: int
    until_offset: int
    states: _containers.RepeatedScalarFieldContainer[_types_pb2.RunState]
    labels: _containers.ScalarMap[str, str]
    created_from_ns: int
    created_before_ns: int
    run_text: str
    max_runs: int
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ..., pattern: _Optional[str] = ..., regex: _Optional[bool] = ..., ignore_case: _Optional[bool] = ..., stream: _Optional[_Union[_types_pb2.Stream, str]] = ..., context_lines: _Optional[int] = ..., max_hits: _Optional[int] = ..., max_hits_per_log: _Optional[int] = ..., max_seconds: _Optional[float] = ..., from_offset: _Optional[int] = ..., until_offset: _Optional[int] = ..., states: _Optional[_Iterable[_Union[_types_pb2.RunState, str]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., created_from_ns: _Optional[int] = ..., created_before_ns: _Optional[int] = ..., run_text: _Optional[str] = ..., max_runs: _Optional[int] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("id", "hits", "at", "length", "skipped", "log_truncated", "logs_done", "runs_done", "bytes_done", "done", "stopped", "runs_total")
    ID_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    LOG_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    LOGS_DONE_FIELD_NUMBER: _ClassVar[int]
    RUNS_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    RUNS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    id: _types_pb2.LogId
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    at: int
    length: int
    skipped: _containers.RepeatedCompositeFieldContainer[_types_pb2.Gap]
    log_truncated: bool
    logs_done: int
    runs_done: int
    bytes_done: int
    done: bool
    stopped: str
    runs_total: int
    def __init__(self, id: _Optional[_Union[_types_pb2.LogId, _Mapping]] = ..., hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., at: _Optional[int] = ..., length: _Optional[int] = ..., skipped: _Optional[_Iterable[_Union[_types_pb2.Gap, _Mapping]]] = ..., log_truncated: _Optional[bool] = ..., logs_done: _Optional[int] = ..., runs_done: _Optional[int] = ..., bytes_done: _Optional[int] = ..., done: _Optional[bool] = ..., stopped: _Optional[str] = ..., runs_total: _Optional[int] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("line", "offset", "spans", "stream", "time_ns", "before", "after")
    LINE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    line: ShownLine
    offset: int
    spans: _containers.RepeatedScalarFieldContainer[int]
    stream: _types_pb2.Stream
    time_ns: int
    before: _containers.RepeatedCompositeFieldContainer[ShownLine]
    after: _containers.RepeatedCompositeFieldContainer[ShownLine]
    def __init__(self, line: _Optional[_Union[ShownLine, _Mapping]] = ..., offset: _Optional[int] = ..., spans: _Optional[_Iterable[int]] = ..., stream: _Optional[_Union[_types_pb2.Stream, str]] = ..., time_ns: _Optional[int] = ..., before: _Optional[_Iterable[_Union[ShownLine, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[ShownLine, _Mapping]]] = ...) -> None: ...

class ShownLine(_message.Message):
    __slots__ = ("line", "offset", "text", "cut")
    LINE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    line: int
    offset: int
    text: bytes
    cut: bool
    def __init__(self, line: _Optional[int] = ..., offset: _Optional[int] = ..., text: _Optional[bytes] = ..., cut: _Optional[bool] = ...) -> None: ...
