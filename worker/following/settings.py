"""The worker's settings about files of others that it follows. Read by entry points only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.settings import section, setting
from joblog.values import parse_size
from joblog.worker.kubernetes.settings import ApiSettings, IdentitySettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.following.file_source import FilesRule

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Collects the logs of this node's containers."""

    enabled: bool = setting(
        False,
        "Collect the logs of all containers of this node, from the kubelet's files. Needs the extra `kubernetes` "
        "(`pip install 'joblog[kubernetes]'`).",
    )
    pod_log_dir: Path | None = setting(
        Path("/var/log/pods"), "Where the kubelet keeps containers' logs, as this worker sees it."
    )
    linked_dirs: tuple[str, ...] = setting(
        ("/var/lib/docker/containers",),
        "Folders into which links in pod_log_dir may lead; files that lie anywhere else are not read.",
    )
    include: tuple[str, ...] = setting(
        (), "Collect only these: globs over NAMESPACE or NAMESPACE/CONTAINER, as in ci-*. Empty: all."
    )
    exclude: tuple[str, ...] = setting(
        (), "Do not collect these: globs over NAMESPACE or NAMESPACE/CONTAINER, as in */istio-proxy."
    )
    byte_rates: tuple[str, ...] = setting(
        (),
        "How fast the logs of a namespace are read: NAMESPACE_GLOB=BYTES_PER_SECOND, as in ci-*=10MiB; the first one "
        "that matches counts. What is written faster waits in the kubelet's files, and what is deleted there before "
        "it was read becomes a gap.",
    )
    max_files: int = setting(
        5,
        "The kubelet's containerLogMaxFiles. A log of which so many files are there when it is first looked at may "
        "have lost its start: an event says so.",
        low=0,
        high=10_000,
    )
    quiet_seconds: float = setting(
        3600.0,
        "Where nobody can tell whether a container has ended, its log ends when nothing has come for so long; what "
        "comes after that is a log of its own, TASK~2. 0: never.",
        unit="seconds",
        low=0,
        high=31_536_000,
    )
    held_bytes: int = setting(
        256 * MIB,
        "Bytes that deleted files may take on the disk because they are not read yet, while there is no room in the "
        "spools. What is more is left out, as a gap.",
        unit="bytes",
        low=0,
        high=1024 * GIB,
    )
    api: ApiSettings = section(ApiSettings, "How the Kubernetes API is reached.")
    identity: IdentitySettings = section(IdentitySettings, "Which log a container's output is.")


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """Collects files that programs on this host write."""

    follow: tuple[str, ...] = setting(
        (),
        "Files to follow: NAMESPACE:RUN/TASK=GLOB, as in web:nginx/{name}=/var/log/nginx/*.log. {name} is the file's "
        "name without .log, {folder} that of its folder, {host} that of this machine. Rotation is followed, too. "
        "docker: before the glob, for files of Docker's json-file driver, as in "
        "docker:{host}/{folder}=docker:/var/lib/docker/containers/*/*-json.log (needs the extra `kubernetes`); cri: "
        "for those in CRI format.",
    )
    linked_dirs: tuple[str, ...] = setting(
        (),
        "Folders into which links may lead that files.follow finds. Any other link out of its own folder is not "
        "followed: who may write to the folder could have put it there.",
    )


def rules(settings: FilesSettings) -> list[FilesRule]:
    """What files.follow says. Raises InvalidInput."""
    # Every `joblog run` reads settings, and few follow files.
    from joblog.worker.following.file_source import parse_rule

    return [parse_rule(text) for text in settings.follow]


def rates(settings: KubernetesSettings) -> dict[str, int]:
    """What kubernetes.byte_rates says: bytes a second by glob. Raises InvalidInput."""
    found: dict[str, int] = {}
    for text in settings.byte_rates:
        pattern, equals, size = text.partition("=")
        if not equals or not pattern or (rate := parse_size(size.strip())) < 1:
            raise InvalidInput(f"{text[:80]!r} must be NAMESPACE_GLOB=BYTES_PER_SECOND, as in ci-*=10MiB")
        found[pattern.strip()] = rate
    return found
