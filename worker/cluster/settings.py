"""The settings of `joblog watch`. Read by entry points only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from joblog.settings import setting

_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What `joblog watch` follows through the Kubernetes API."""

    namespaces: tuple[str, ...] = setting((), "Kubernetes namespaces whose pods are followed. Empty: all.")
    selector: str = setting("", "Only pods with these labels, as kubectl takes it: app=ci,tier!=web. Empty: all.")
    lease_namespace: str = setting("", "Where the lease lies by which one of several watchers is active. Empty: here.")
    lease_name: str = setting("joblog-watch", "Its name. Watchers that follow other pods need another one.")
    lease_seconds: float = setting(
        15.0,
        "After this time without a sign of life of the active watcher another one takes over.",
        unit="seconds",
        low=1,
        high=3600,
    )
    secret: str = setting(
        "",
        "A text, the same for all watchers of a lease, by which one may go on with another's logs. Empty: one that "
        "lies in the data folder, so that a watcher with another data folder begins new attempts.",
        secret=True,
    )
    max_containers: int = setting(
        2000, "Containers that are followed at once; each takes a connection.", low=1, high=100_000
    )

    def place(self) -> str:
        """The lease's namespace."""
        if self.lease_namespace:
            return self.lease_namespace
        try:
            return _ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip() or "default"
        except OSError:
            return "default"
