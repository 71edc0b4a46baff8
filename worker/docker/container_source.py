"""Docker's containers on this host: <id>/<id>-json.log below dockerd's folder, and what lies beside it."""

from __future__ import annotations

import logging
import os
import time

from joblog.errors import InvalidInput
from joblog.worker.docker.container import (
    CONFIG_FILE,
    JSON_FILE_DRIVER,
    DockerContainer,
    is_container_id,
    read_container,
)
from joblog.worker.docker.naming import Naming
from joblog.worker.docker.runs import Runs
from joblog.worker.following.source import Found, state_of
from joblog.worker.kubernetes.pods import ContainerEnd, Excluded, LogTarget, NotYet, allowed_name

log = logging.getLogger(__name__)

_PREFIX = "docker:"
# What is not there yet: dockerd makes a container's folder, then its files, then starts it.
_ASK_AGAIN_SECONDS = 0.5
# A container that nothing is known of goes by its id then.
UNKNOWN_SECONDS = 10.0
# How long it is known how a container ended that is gone.
GONE_SECONDS = 900.0
# A file that is kept alone tells nothing of those before it: so old is a run of which there may have been some.
_LATE_NS = 5_000_000_000


class _Known:
    """What was seen of a container. witness: state_of its file when that was looked at."""

    __slots__ = ("container", "first_seen", "gone_at", "runs", "witness")

    def __init__(self) -> None:
        self.container: DockerContainer | None = None
        self.runs = Runs()
        self.witness: tuple[int, ...] = ()
        self.first_seen = time.monotonic()
        self.gone_at = 0.0


class DockerSource:
    """Finds the logs below `root`. Raises OSError from scan() when there is no such folder."""

    name = "docker"
    recurring = False

    def __init__(self, root: str, naming: Naming, *, unknown_seconds: float = UNKNOWN_SECONDS) -> None:
        self._root = root.rstrip("/")
        self._roots = [os.path.realpath(root)]
        self._naming = naming
        self._unknown_seconds = unknown_seconds
        self._known: dict[str, _Known] = {}
        self._folders = [self._root]
        self._refused: set[str] = set()

    def scan(self) -> list[Found]:
        found = []
        ids = {name for name in os.listdir(self._root) if is_container_id(name)}
        for container_id in sorted(ids):
            known = self._known.setdefault(container_id, _Known())
            known.gone_at = 0.0
            folder = f"{self._root}/{container_id}"
            self._look(known, folder, container_id)
            path = f"{folder}/{container_id}-json.log"
            if os.path.lexists(path):
                found.append(self._found(known, container_id, folder, path))
            elif known.container is not None and known.container.state.started_ns:
                self._note_driver(known.container)
        self._forget(ids)
        self._folders = [self._root, *(f"{self._root}/{container_id}" for container_id in sorted(ids))]
        return found

    def _found(self, known: _Known, container_id: str, folder: str, path: str) -> Found:
        return Found(
            key_of(container_id),
            path,
            "docker",
            self._naming.namespace,
            folder,
            self._roots,
            self._max_files(known),
            runs=known.runs.all(),
            witness=f"{folder}/{CONFIG_FILE}",
            witness_state=known.witness,
        )

    def _look(self, known: _Known, folder: str, container_id: str) -> None:
        """Reads what dockerd says of a container, where it says something new."""
        witness = state_of(f"{folder}/{CONFIG_FILE}")
        if witness == known.witness or not witness:
            return
        try:
            container = read_container(folder, container_id)
        except FileNotFoundError:
            return
        except (OSError, InvalidInput) as error:
            self._say_once(container_id, f"what dockerd says of container {container_id[:12]} can't be read: {error}")
            known.witness = witness
            return
        if state_of(f"{folder}/{CONFIG_FILE}") != witness:
            # Another one than was read, perhaps: it is looked at again at once, as it is another one than before.
            return
        known.container, known.witness = container, witness
        known.runs.see(container, witness[1])

    @staticmethod
    def _max_files(known: _Known) -> int:
        container = known.container
        if container is None or container.max_files != 1:
            return container.max_files if container is not None else 0
        runs = known.runs.all()
        return 1 if runs and time.time_ns() - runs[0].started_ns > _LATE_NS else 0

    def _note_driver(self, container: DockerContainer) -> None:
        if container.driver not in ("", "none", JSON_FILE_DRIVER):
            self._say_once(
                container.driver,
                f"container {container.name} logs by the driver {container.driver}: only what the driver "
                f"{JSON_FILE_DRIVER} writes is collected",
            )

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._refused and len(self._refused) < 1000:
            self._refused.add(what)
            log.warning("%s", message)

    def _forget(self, ids: set[str]) -> None:
        now = time.monotonic()
        for container_id, known in list(self._known.items()):
            if container_id in ids:
                continue
            known.gone_at = known.gone_at or now
            if now - known.gone_at > GONE_SECONDS:
                del self._known[container_id]

    def folders(self) -> list[str]:
        return self._folders

    async def target(self, found: Found) -> LogTarget | Excluded | NotYet:
        container_id = id_of(found.key)
        known = self._known.get(container_id)
        if known is not None and known.container is not None:
            if found.run_ns or known.container.state.running:
                return self._naming.target(known.container, found.run_ns, known.runs.restarts(found.run_ns))
            # It was not started yet.
            return NotYet(_ASK_AGAIN_SECONDS)
        if known is not None and time.monotonic() - known.first_seen < self._unknown_seconds:
            return NotYet(_ASK_AGAIN_SECONDS)
        return self._naming.target(DockerContainer(container_id, allowed_name(container_id[:12])), 0, 0)

    async def ended(self, found: Found) -> ContainerEnd | None:
        known = self._known.get(id_of(found.key))
        return known.runs.end_of(found.run_ns) if known is not None else None

    async def alive(self, found: Found) -> bool | None:
        known = self._known.get(id_of(found.key))
        if known is None or known.container is None or known.gone_at or found.superseded or not found.run_ns:
            return None
        return not known.container.state.is_over

    def is_mine(self, key: str) -> bool:
        return key.startswith(_PREFIX)


def key_of(container_id: str) -> str:
    """By this the logs of a container are known again."""
    return _PREFIX + container_id


def id_of(key: str) -> str:
    """The reverse of key_of."""
    return key.removeprefix(_PREFIX)
