from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper

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
    __slots__ = (
        "chunks",
        "companions",
        "end_offset",
        "first_time_ns",
        "generation",
        "index_length",
        "index_position",
        "kind",
        "last_time_ns",
        "length",
        "lines_before",
        "newlines",
        "object",
        "object_bytes",
        "object_logs",
        "offset",
        "position",
    )
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
    def __init__(
        self,
        offset: int | None = ...,
        end_offset: int | None = ...,
        object: str | None = ...,
        kind: ExtentKind | str | None = ...,
        position: int | None = ...,
        length: int | None = ...,
        chunks: int | None = ...,
        lines_before: int | None = ...,
        newlines: int | None = ...,
        first_time_ns: int | None = ...,
        last_time_ns: int | None = ...,
        object_bytes: int | None = ...,
        index_position: int | None = ...,
        index_length: int | None = ...,
        object_logs: int | None = ...,
        companions: _Iterable[str] | None = ...,
        generation: int | None = ...,
    ) -> None: ...
