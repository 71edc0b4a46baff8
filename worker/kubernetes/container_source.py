"""Container logs as the kubelet lays them out: <namespace>_<pod>_<uid>/<container>/<restart>.log."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from joblog.worker.following.source import Found
from joblog.worker.kubernetes.pods import ContainerEnd, ContainerRef, Excluded, LogTarget, NotYet, Pods

_PREFIX = "pod:"
_LOG = re.compile(r"(\d{1,9})\.log\Z")


class ContainerSource:
    """Finds the logs below `root`, and asks `pods` about them.

    linked: folders besides it in which files may lie to which links there lead, as Docker's. max_files: how many files
    of a container are kept (containerLogMaxFiles). Raises OSError from scan() when there is no such root.
    """

    name = "kubernetes"
    recurring = False

    def __init__(self, pods: Pods, root: str, *, linked: Sequence[str] = (), max_files: int = 0) -> None:
        self._pods = pods
        self._root = root
        self._roots = [os.path.realpath(folder) for folder in (root, *linked)]
        self._max_files = max_files
        self._folders: list[str] = [root]

    def scan(self) -> list[Found]:
        found: list[Found] = []
        folders = {self._root}
        for pod_folder in os.listdir(self._root):
            if (named := pod_of(pod_folder)) is None:
                continue
            folder = f"{self._root}/{pod_folder}"
            folders.add(folder)
            for container in _entries(folder):
                place = f"{folder}/{container}"
                restarts = [int(match[1]) for name in _entries(place) if (match := _LOG.match(name))]
                if restarts or os.path.isdir(place):
                    folders.add(place)
                found += self._runs(ContainerRef(*named, container, 0), place, restarts, folders)
        self._folders = sorted(folders)
        return found

    def _runs(self, ref: ContainerRef, folder: str, restarts: list[int], folders: set[str]) -> list[Found]:
        runs = []
        for restart in sorted(restarts):
            path = f"{folder}/{restart}.log"
            if os.path.islink(path):
                # There the files come and go.
                folders.add(os.path.dirname(os.path.realpath(path)))
            runs.append(
                Found(
                    key_of(ref._replace(restart=restart)),
                    path,
                    "",
                    ref.namespace,
                    folder,
                    self._roots,
                    self._max_files,
                    superseded=restart < max(restarts),
                )
            )
        return runs

    def folders(self) -> list[str]:
        return self._folders

    async def target(self, found: Found) -> LogTarget | Excluded | NotYet:
        return await self._pods.target(ref_of(found.key))

    async def ended(self, found: Found) -> ContainerEnd | None:
        return await self._pods.ended(ref_of(found.key))

    async def alive(self, found: Found) -> bool | None:
        return await self._pods.alive(ref_of(found.key))

    def is_mine(self, key: str) -> bool:
        return key.startswith(_PREFIX)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def pod_of(folder: str) -> tuple[str, str, str] | None:
    """(namespace, pod, uid) of a pod's folder; None for another one. No name of Kubernetes holds an underscore."""
    namespace, first, rest = folder.partition("_")
    pod, second, uid = rest.rpartition("_")
    return (namespace, pod, uid) if first and second and namespace and pod and uid else None


def key_of(ref: ContainerRef) -> str:
    """By this a container's log is known again."""
    return _PREFIX + "/".join((ref.namespace, ref.pod, ref.uid, ref.container, str(ref.restart)))


def ref_of(key: str) -> ContainerRef:
    """The reverse of key_of."""
    namespace, pod, uid, container, restart = key.removeprefix(_PREFIX).split("/")
    return ContainerRef(namespace, pod, uid, container, int(restart))
