from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExtentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXTENT_KIND_UNSPECIFIED: _ClassVar[ExtentKind]
    EXTENT_KIND_PACK: _ClassVar[ExtentKind]
    EXTENT_KIND_SEGMENT: _ClassVar[ExtentKind]
    EXTENT_KIND_SEALED: _ClassVar[ExtentKind]
EXTENT_KIND_UNSPECIFIED: ExtentKind
EXTENT_KIND_PACK: ExtentKind
EXTENT_KIND_SEGMENT: ExtentKind
EXTENT_KIND_SEALED: ExtentKind

class Extent(_message.Message):
    __slots__ = ("offset", "end_offset", "object", "kind", "position", "length", "chunks", "lines_before", "newlines", "first_time_ns", "last_time_ns", "object_bytes", "index_position", "index_length", "object_logs", "companions", "generation")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    LINES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NEWLINES_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEX_POSITION_FIELD_NUMBER: _ClassVar[int]
    INDEX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    OBJECT_LOGS_FIELD_NUMBER: _ClassVar[int]
    COMPANIONS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    offset: int
    end_offset: int
    object: str
    kind: ExtentKind
    position: int
    length: int
    chunks: int
    lines_before: int
    newlines: int
    first_time_ns: int
    last_time_ns: int
    object_bytes: int
    index_position: int
    index_length: int
    object_logs: int
    companions: _containers.RepeatedScalarFieldContainer[str]
    generation: int
    def __init__(self, offset: _Optional[int] = ..., end_offset: _Optional[int] = ..., object: _Optional[str] = ..., kind: _Optional[_Union[ExtentKind, str]] = ..., position: _Optional[int] = ..., length: _Optional[int] = ..., chunks: _Optional[int] = ..., lines_before: _Optional[int] = ..., newlines: _Optional[int] = ..., first_time_ns: _Optional[int] = ..., last_time_ns: _Optional[int] = ..., object_bytes: _Optional[int] = ..., index_position: _Optional[int] = ..., index_length: _Optional[int] = ..., object_logs: _Optional[int] = ..., companions: _Optional[_Iterable[str]] = ..., generation: _Optional[int] = ...) -> None: ...

class ForeignRange(_message.Message):
    __slots__ = ("url", "object_bytes", "etag", "version_id", "gzip", "position")
    URL_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    GZIP_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    url: str
    object_bytes: int
    etag: str
    version_id: str
    gzip: bool
    position: int
    def __init__(self, url: _Optional[str] = ..., object_bytes: _Optional[int] = ..., etag: _Optional[str] = ..., version_id: _Optional[str] = ..., gzip: _Optional[bool] = ..., position: _Optional[int] = ...) -> None: ...
