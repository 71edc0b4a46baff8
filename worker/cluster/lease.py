"""One of several watchers is active: by a Lease of coordination.k8s.io, as Kubernetes' own controllers do it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from joblog.errors import Conflict, Corrupt, JoblogError, NotFound, Unavailable
from joblog.service import Service
from joblog.worker.kubernetes.client import Connection

log = logging.getLogger(__name__)


class Elector(Service):
    """Starts once this process holds the lease, and ends the daemon when it does not any more.

    Who has not renewed it for lease_seconds, by this process's own clock, has lost it; its holder gives up after two
    thirds of that, so that there are never two. Comes first in the list of services: what follows runs under the lease.
    """

    name = "lease"

    def __init__(
        self, connection: Connection, namespace: str, name: str, identity: str, *, lease_seconds: float = 15.0
    ) -> None:
        self._connection = connection
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._seen = ""
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._complaint = ""
        self._renewing: asyncio.Task[None] | None = None

    @property
    def _pause_seconds(self) -> float:
        return self._lease_seconds / 7.5

    async def start(self) -> None:
        """Waits for the lease."""
        told = False
        while not await self._try():
            if not told:
                told = True
                log.info("another watcher holds the lease %s/%s; this one waits", self._namespace, self._name)
            await asyncio.sleep(self._pause_seconds * random.uniform(0.8, 1.2))  # noqa: S311
        log.info("holds the lease %s/%s as %s", self._namespace, self._name, self._identity)
        # The other services may take their time to start.
        self._renewing = asyncio.create_task(self._renew())

    async def run(self) -> None:
        """Raises Unavailable when it is lost."""
        assert self._renewing is not None
        await self._renewing

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds)
            left = self._renewed_at + self._lease_seconds * 2 / 3 - time.monotonic()
            held = False
            if left > 0:
                try:
                    async with asyncio.timeout(left):
                        held = await self._try()
                except TimeoutError:
                    held = False
            if not held and time.monotonic() >= self._renewed_at + self._lease_seconds * 2 / 3:
                raise Unavailable(f"the lease {self._namespace}/{self._name} is lost: another watcher takes over")

    async def stop(self) -> None:
        """Gives it back, so that another one need not wait."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            async with asyncio.timeout(2.0):
                await self._try(holder="")
        except (JoblogError, TimeoutError) as error:
            log.warning("the lease could not be given back: %s", error)
        await self._connection.close()

    async def _try(self, holder: str | None = None) -> bool:
        """Takes, renews or gives back; whether that was done."""
        try:
            done = await self._take(self._identity if holder is None else holder)
        except Conflict:
            return False
        except JoblogError as error:
            # What was set wrong stays so; what the server says may be right the next time.
            if not isinstance(error, Unavailable | Corrupt) and not self._renewed_at:
                raise
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("the lease can't be had, which is tried again: %s", error)
            return False
        self._complaint = ""
        return done

    async def _take(self, holder: str) -> bool:
        client = await self._connection()
        began = time.monotonic()
        try:
            lease = await client.get(f"{self._path}/{self._name}")
        except NotFound:
            if not holder:
                return True
            meta = {"name": self._name, "namespace": self._namespace}
            fresh = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
            await client.send("POST", self._path, {**fresh, "spec": self._spec(holder, {})})
            self._renewed_at = began
            return True
        spec = _spec_of(lease, f"{self._path}/{self._name}")
        mine = spec.get("holderIdentity") == self._identity
        if not mine and not self._is_free(lease, spec):
            return False
        if not mine and not holder:
            return True
        await client.send("PUT", f"{self._path}/{self._name}", {**lease, "spec": self._spec(holder, spec)})
        self._renewed_at = began
        return True

    def _is_free(self, lease: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
        """By this clock: a lease that has not changed since it was seen for as long as it is good."""
        if not spec.get("holderIdentity"):
            return True
        version = str(lease["metadata"]["resourceVersion"])
        now = time.monotonic()
        if version != self._seen:
            self._seen, self._seen_at = version, now
        seconds = spec.get("leaseDurationSeconds")
        good = seconds if isinstance(seconds, int) and seconds > 0 else self._lease_seconds
        return now - self._seen_at > good

    def _spec(self, holder: str, before: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == holder
        acquired, transitions = before.get("acquireTime"), before.get("leaseTransitions")
        count = transitions if type(transitions) is int else 0
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._lease_seconds)),
            "acquireTime": acquired if same and isinstance(acquired, str) else now,
            "renewTime": now,
            "leaseTransitions": count if same or not before else count + 1,
        }


def _spec_of(lease: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What a lease says. Raises Corrupt for what is none."""
    meta, spec = lease.get("metadata"), lease.get("spec") or {}
    if not isinstance(meta, dict) or not isinstance(meta.get("resourceVersion"), str):
        raise Corrupt(f"Kubernetes API, {path}: what came is no Lease: it has no metadata.resourceVersion")
    if not isinstance(spec, dict) or not isinstance(spec.get("holderIdentity") or "", str):
        raise Corrupt(f"Kubernetes API, {path}: what came is no Lease: its spec is {str(spec)[:60]!r}")
    return spec
