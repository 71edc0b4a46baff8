from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ("worker_id", "request", "host")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    request: bytes
    host: str
    def __init__(self, worker_id: _Optional[str] = ..., request: _Optional[bytes] = ..., host: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    def __init__(self, request: _Optional[bytes] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("certificate_chain", "ca", "expires_ns", "workers_port", "workers_address")
    CERTIFICATE_CHAIN_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_PORT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    certificate_chain: bytes
    ca: bytes
    expires_ns: int
    workers_port: int
    workers_address: str
    def __init__(self, certificate_chain: _Optional[bytes] = ..., ca: _Optional[bytes] = ..., expires_ns: _Optional[int] = ..., workers_port: _Optional[int] = ..., workers_address: _Optional[str] = ...) -> None: ...

class WhoAmIRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ("kind", "name", "grants", "permissions", "expires_ns")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    expires_ns: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., permissions: _Optional[_Iterable[str]] = ..., expires_ns: _Optional[int] = ...) -> None: ...

class CreateSignInCodeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateSignInCodeResponse(_message.Message):
    __slots__ = ("code", "url")
    CODE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    code: str
    url: str
    def __init__(self, code: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("role", "namespaces")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    role: str
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, role: _Optional[str] = ..., namespaces: _Optional[_Iterable[str]] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("bytes_per_day", "live_logs", "stored_bytes", "requests_per_second")
    BYTES_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    LIVE_LOGS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    bytes_per_day: int
    live_logs: int
    stored_bytes: int
    requests_per_second: int
    def __init__(self, bytes_per_day: _Optional[int] = ..., live_logs: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., requests_per_second: _Optional[int] = ...) -> None: ...

class Use(_message.Message):
    __slots__ = ("bytes_today", "live_logs", "stored_bytes")
    BYTES_TODAY_FIELD_NUMBER: _ClassVar[int]
    LIVE_LOGS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes_today: int
    live_logs: int
    stored_bytes: int
    def __init__(self, bytes_today: _Optional[int] = ..., live_logs: _Optional[int] = ..., stored_bytes: _Optional[int] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("id", "name", "grants", "worker_id", "created_ns", "expires_ns", "last_used_ns", "revoked_ns", "created_by", "quota", "use")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_NS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_NS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    worker_id: str
    created_ns: int
    expires_ns: int
    last_used_ns: int
    revoked_ns: int
    created_by: str
    quota: Quota
    use: Use
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., worker_id: _Optional[str] = ..., created_ns: _Optional[int] = ..., expires_ns: _Optional[int] = ..., last_used_ns: _Optional[int] = ..., revoked_ns: _Optional[int] = ..., created_by: _Optional[str] = ..., quota: _Optional[_Union[Quota, _Mapping]] = ..., use: _Optional[_Union[Use, _Mapping]] = ...) -> None: ...

class CreateTokenRequest(_message.Message):
    __slots__ = ("name", "grants", "worker_id", "lifetime_seconds", "quota", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    worker_id: str
    lifetime_seconds: int
    quota: Quota
    address: str
    def __init__(self, name: _Optional[str] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., worker_id: _Optional[str] = ..., lifetime_seconds: _Optional[int] = ..., quota: _Optional[_Union[Quota, _Mapping]] = ..., address: _Optional[str] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("token", "secret")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    token: Token
    secret: str
    def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class ListTokensRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTokensResponse(_message.Message):
    __slots__ = ("tokens", "next_page_token")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    next_page_token: str
    def __init__(self, tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeTokenRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("serial", "worker_id", "token_id", "issued_ns", "expires_ns", "revoked_ns")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_NS_FIELD_NUMBER: _ClassVar[int]
    serial: str
    worker_id: str
    token_id: str
    issued_ns: int
    expires_ns: int
    revoked_ns: int
    def __init__(self, serial: _Optional[str] = ..., worker_id: _Optional[str] = ..., token_id: _Optional[str] = ..., issued_ns: _Optional[int] = ..., expires_ns: _Optional[int] = ..., revoked_ns: _Optional[int] = ...) -> None: ...

class ListCertificatesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCertificatesResponse(_message.Message):
    __slots__ = ("certificates", "next_page_token")
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    certificates: _containers.RepeatedCompositeFieldContainer[Certificate]
    next_page_token: str
    def __init__(self, certificates: _Optional[_Iterable[_Union[Certificate, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeCertificateRequest(_message.Message):
    __slots__ = ("serial", "worker_id")
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    serial: str
    worker_id: str
    def __init__(self, serial: _Optional[str] = ..., worker_id: _Optional[str] = ...) -> None: ...
