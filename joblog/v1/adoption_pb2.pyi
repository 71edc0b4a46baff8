from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AdoptResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADOPT_RESULT_UNSPECIFIED: _ClassVar[AdoptResult]
    ADOPT_RESULT_ADOPTED: _ClassVar[AdoptResult]
    ADOPT_RESULT_KNOWN: _ClassVar[AdoptResult]
    ADOPT_RESULT_CHANGED: _ClassVar[AdoptResult]
    ADOPT_RESULT_REFUSED: _ClassVar[AdoptResult]
    ADOPT_RESULT_LATER: _ClassVar[AdoptResult]
ADOPT_RESULT_UNSPECIFIED: AdoptResult
ADOPT_RESULT_ADOPTED: AdoptResult
ADOPT_RESULT_KNOWN: AdoptResult
ADOPT_RESULT_CHANGED: AdoptResult
ADOPT_RESULT_REFUSED: AdoptResult
ADOPT_RESULT_LATER: AdoptResult

class AdoptRequest(_message.Message):
    __slots__ = ("url", "rule", "namespace", "run", "task", "attempt", "metadata", "fields", "statuses", "otherwise", "ignore_metadata", "min_age_seconds", "dry_run", "limit")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class StatusesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_METADATA_FIELD_NUMBER: _ClassVar[int]
    MIN_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    url: str
    rule: str
    namespace: str
    run: str
    task: str
    attempt: str
    metadata: str
    fields: _containers.ScalarMap[str, str]
    statuses: _containers.ScalarMap[str, str]
    otherwise: str
    ignore_metadata: bool
    min_age_seconds: float
    dry_run: bool
    limit: int
    def __init__(self, url: _Optional[str] = ..., rule: _Optional[str] = ..., namespace: _Optional[str] = ..., run: _Optional[str] = ..., task: _Optional[str] = ..., attempt: _Optional[str] = ..., metadata: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ..., statuses: _Optional[_Mapping[str, str]] = ..., otherwise: _Optional[str] = ..., ignore_metadata: _Optional[bool] = ..., min_age_seconds: _Optional[float] = ..., dry_run: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class AdoptedLog(_message.Message):
    __slots__ = ("result", "url", "name", "bytes", "why", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RESULT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    result: AdoptResult
    url: str
    name: str
    bytes: int
    why: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, result: _Optional[_Union[AdoptResult, str]] = ..., url: _Optional[str] = ..., name: _Optional[str] = ..., bytes: _Optional[int] = ..., why: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AdoptResponse(_message.Message):
    __slots__ = ("logs", "listed", "adopted", "known", "changed", "refused", "later", "others", "bytes", "done")
    LOGS_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LATER_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[AdoptedLog]
    listed: int
    adopted: int
    known: int
    changed: int
    refused: int
    later: int
    others: int
    bytes: int
    done: bool
    def __init__(self, logs: _Optional[_Iterable[_Union[AdoptedLog, _Mapping]]] = ..., listed: _Optional[int] = ..., adopted: _Optional[int] = ..., known: _Optional[int] = ..., changed: _Optional[int] = ..., refused: _Optional[int] = ..., later: _Optional[int] = ..., others: _Optional[int] = ..., bytes: _Optional[int] = ..., done: _Optional[bool] = ...) -> None: ...
