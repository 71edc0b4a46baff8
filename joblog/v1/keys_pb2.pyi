from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetKeysRequest(_message.Message):
    __slots__ = ("count_logs",)
    COUNT_LOGS_FIELD_NUMBER: _ClassVar[int]
    count_logs: bool
    def __init__(self, count_logs: _Optional[bool] = ...) -> None: ...

class GetKeysResponse(_message.Message):
    __slots__ = ("kms", "kms_key_id", "kms_key_version", "store_keys", "kms_calls", "started_ns", "warnings", "store_key_days")
    KMS_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_VERSION_FIELD_NUMBER: _ClassVar[int]
    STORE_KEYS_FIELD_NUMBER: _ClassVar[int]
    KMS_CALLS_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    STORE_KEY_DAYS_FIELD_NUMBER: _ClassVar[int]
    kms: str
    kms_key_id: str
    kms_key_version: str
    store_keys: _containers.RepeatedCompositeFieldContainer[StoreKeyStatus]
    kms_calls: int
    started_ns: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    store_key_days: int
    def __init__(self, kms: _Optional[str] = ..., kms_key_id: _Optional[str] = ..., kms_key_version: _Optional[str] = ..., store_keys: _Optional[_Iterable[_Union[StoreKeyStatus, _Mapping]]] = ..., kms_calls: _Optional[int] = ..., started_ns: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., store_key_days: _Optional[int] = ...) -> None: ...

class StoreKeyStatus(_message.Message):
    __slots__ = ("id", "store_id", "kms", "kms_key_id", "kms_key_version", "made_ns", "wrapped_ns", "current", "present", "open", "archived", "logs")
    ID_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    KMS_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_VERSION_FIELD_NUMBER: _ClassVar[int]
    MADE_NS_FIELD_NUMBER: _ClassVar[int]
    WRAPPED_NS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    store_id: str
    kms: str
    kms_key_id: str
    kms_key_version: str
    made_ns: int
    wrapped_ns: int
    current: bool
    present: bool
    open: bool
    archived: bool
    logs: int
    def __init__(self, id: _Optional[bytes] = ..., store_id: _Optional[str] = ..., kms: _Optional[str] = ..., kms_key_id: _Optional[str] = ..., kms_key_version: _Optional[str] = ..., made_ns: _Optional[int] = ..., wrapped_ns: _Optional[int] = ..., current: _Optional[bool] = ..., present: _Optional[bool] = ..., open: _Optional[bool] = ..., archived: _Optional[bool] = ..., logs: _Optional[int] = ...) -> None: ...

class RotateKeysRequest(_message.Message):
    __slots__ = ("kek",)
    KEK_FIELD_NUMBER: _ClassVar[int]
    kek: bool
    def __init__(self, kek: _Optional[bool] = ...) -> None: ...

class RotateKeysResponse(_message.Message):
    __slots__ = ("store_key_id", "kms_key_version")
    STORE_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_VERSION_FIELD_NUMBER: _ClassVar[int]
    store_key_id: bytes
    kms_key_version: str
    def __init__(self, store_key_id: _Optional[bytes] = ..., kms_key_version: _Optional[str] = ...) -> None: ...

class RewrapKeysRequest(_message.Message):
    __slots__ = ("to",)
    class ToEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TO_FIELD_NUMBER: _ClassVar[int]
    to: _containers.ScalarMap[str, str]
    def __init__(self, to: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RewrapKeysResponse(_message.Message):
    __slots__ = ("done", "total", "archived", "finished", "kms", "kms_key_id", "settings")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    KMS_FIELD_NUMBER: _ClassVar[int]
    KMS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    archived: int
    finished: bool
    kms: str
    kms_key_id: str
    settings: _containers.ScalarMap[str, str]
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., archived: _Optional[int] = ..., finished: _Optional[bool] = ..., kms: _Optional[str] = ..., kms_key_id: _Optional[str] = ..., settings: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExportKeysRequest(_message.Message):
    __slots__ = ("passphrase",)
    PASSPHRASE_FIELD_NUMBER: _ClassVar[int]
    passphrase: str
    def __init__(self, passphrase: _Optional[str] = ...) -> None: ...

class ExportKeysResponse(_message.Message):
    __slots__ = ("keys", "store_keys")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    STORE_KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: bytes
    store_keys: int
    def __init__(self, keys: _Optional[bytes] = ..., store_keys: _Optional[int] = ...) -> None: ...
