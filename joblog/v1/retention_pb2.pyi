from joblog.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hold(_message.Message):
    __slots__ = ("namespace", "run", "label", "value", "reason", "set_by", "set_ns")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SET_BY_FIELD_NUMBER: _ClassVar[int]
    SET_NS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    label: str
    value: str
    reason: str
    set_by: str
    set_ns: int
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., label: _Optional[str] = ..., value: _Optional[str] = ..., reason: _Optional[str] = ..., set_by: _Optional[str] = ..., set_ns: _Optional[int] = ...) -> None: ...

class GetRetentionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRetentionResponse(_message.Message):
    __slots__ = ("policies", "quotas", "next_pass_ns", "passed_ns", "last", "pending_objects", "locked_objects", "holds", "warnings")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PASS_NS_FIELD_NUMBER: _ClassVar[int]
    PASSED_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PENDING_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    LOCKED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedScalarFieldContainer[str]
    quotas: _containers.RepeatedScalarFieldContainer[str]
    next_pass_ns: int
    passed_ns: int
    last: RetentionDone
    pending_objects: int
    locked_objects: int
    holds: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, policies: _Optional[_Iterable[str]] = ..., quotas: _Optional[_Iterable[str]] = ..., next_pass_ns: _Optional[int] = ..., passed_ns: _Optional[int] = ..., last: _Optional[_Union[RetentionDone, _Mapping]] = ..., pending_objects: _Optional[int] = ..., locked_objects: _Optional[int] = ..., holds: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class RetentionDone(_message.Message):
    __slots__ = ("runs_looked_at", "runs", "logs", "bytes", "held_runs", "seconds")
    RUNS_LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_RUNS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    runs_looked_at: int
    runs: int
    logs: int
    bytes: int
    held_runs: int
    seconds: float
    def __init__(self, runs_looked_at: _Optional[int] = ..., runs: _Optional[int] = ..., logs: _Optional[int] = ..., bytes: _Optional[int] = ..., held_runs: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class PreviewRetentionRequest(_message.Message):
    __slots__ = ("namespace", "ahead_seconds")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    AHEAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    ahead_seconds: int
    def __init__(self, namespace: _Optional[str] = ..., ahead_seconds: _Optional[int] = ...) -> None: ...

class PreviewRetentionResponse(_message.Message):
    __slots__ = ("due", "total")
    DUE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    due: _containers.RepeatedCompositeFieldContainer[DueRun]
    total: RetentionDone
    def __init__(self, due: _Optional[_Iterable[_Union[DueRun, _Mapping]]] = ..., total: _Optional[_Union[RetentionDone, _Mapping]] = ...) -> None: ...

class DueRun(_message.Message):
    __slots__ = ("namespace", "run", "state", "completed_ns", "logs", "bytes", "policy", "held")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_NS_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    state: _types_pb2.RunState
    completed_ns: int
    logs: int
    bytes: int
    policy: str
    held: bool
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., state: _Optional[_Union[_types_pb2.RunState, str]] = ..., completed_ns: _Optional[int] = ..., logs: _Optional[int] = ..., bytes: _Optional[int] = ..., policy: _Optional[str] = ..., held: _Optional[bool] = ...) -> None: ...

class RunRetentionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunRetentionResponse(_message.Message):
    __slots__ = ("done", "finished")
    DONE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    done: RetentionDone
    finished: bool
    def __init__(self, done: _Optional[_Union[RetentionDone, _Mapping]] = ..., finished: _Optional[bool] = ...) -> None: ...

class SetHoldRequest(_message.Message):
    __slots__ = ("namespace", "run", "label", "value", "reason")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    label: str
    value: str
    reason: str
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., label: _Optional[str] = ..., value: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SetHoldResponse(_message.Message):
    __slots__ = ("hold", "created", "archived", "runs")
    HOLD_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    hold: Hold
    created: bool
    archived: bool
    runs: int
    def __init__(self, hold: _Optional[_Union[Hold, _Mapping]] = ..., created: _Optional[bool] = ..., archived: _Optional[bool] = ..., runs: _Optional[int] = ...) -> None: ...

class LiftHoldRequest(_message.Message):
    __slots__ = ("namespace", "run", "label", "value", "unreadable")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run: str
    label: str
    value: str
    unreadable: bool
    def __init__(self, namespace: _Optional[str] = ..., run: _Optional[str] = ..., label: _Optional[str] = ..., value: _Optional[str] = ..., unreadable: _Optional[bool] = ...) -> None: ...

class LiftHoldResponse(_message.Message):
    __slots__ = ("lifted", "archived")
    LIFTED_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    lifted: bool
    archived: bool
    def __init__(self, lifted: _Optional[bool] = ..., archived: _Optional[bool] = ...) -> None: ...

class ListHoldsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListHoldsResponse(_message.Message):
    __slots__ = ("holds", "archived", "unreadable")
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    holds: _containers.RepeatedCompositeFieldContainer[Hold]
    archived: bool
    unreadable: str
    def __init__(self, holds: _Optional[_Iterable[_Union[Hold, _Mapping]]] = ..., archived: _Optional[bool] = ..., unreadable: _Optional[str] = ...) -> None: ...
