"""A KMS whose requests are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from joblog.errors import JoblogError
from joblog.leader.crypto.kms import Kms
from joblog.leader.metrics import KmsMetrics

Answer = TypeVar("Answer")


class MeteredKms:
    """Passes everything on to `inner`; counts what asks the KMS."""

    def __init__(self, inner: Kms, metrics: KmsMetrics) -> None:
        self.inner = inner
        self.name = inner.name
        self.key_id = inner.key_id
        self._requests = metrics.requests

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap()."""
        return self._counted("wrap", lambda: self.inner.wrap(plain, context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        return self._counted("unwrap", lambda: self.inner.unwrap(wrapped, context))

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap()."""
        return self._counted("rewrap", lambda: self.inner.rewrap(wrapped, context))

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of(); asks nobody."""
        return self.inner.version_of(wrapped)

    def current_version(self) -> str:
        """As Kms.current_version()."""
        return self._counted("version", self.inner.current_version)

    def rotate(self) -> str:
        """As Kms.rotate()."""
        return self._counted("rotate", self.inner.rotate)

    def _counted(self, operation: str, ask: Callable[[], Answer]) -> Answer:
        outcome = "failed"
        try:
            answer = ask()
            outcome = "ok"
            return answer
        except JoblogError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._requests.labels(operation, outcome).inc()
