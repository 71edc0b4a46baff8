"""joblog: collects the output of jobs, exactly once, and serves it from one address.

Importing this package imports nothing else; the names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joblog.client import Client
    from joblog.handler import LogHandler
    from joblog.runlog import RunLog

__version__ = "0.1.0"

__all__ = ["Client", "LogHandler", "RunLog", "__version__"]

_HOMES = {"Client": "joblog.client", "LogHandler": "joblog.handler", "RunLog": "joblog.runlog"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'joblog' has no attribute {name!r}")
