"""The worker's settings; config/worker.toml documents each of them. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from joblog.address import check_address
from joblog.errors import InvalidInput
from joblog.settings import LogSettings, Settings, section, setting
from joblog.worker.cluster.settings import WatchSettings
from joblog.worker.docker.settings import DockerSettings
from joblog.worker.following.settings import FilesSettings, KubernetesSettings, rates, rules
from joblog.worker.journald.settings import JournaldSettings
from joblog.worker.otlp.settings import OtlpSettings

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def check_leader(address: str) -> str:
    """Returns `address` when it is empty or one of a leader; raises InvalidInput."""
    return check_address(address) if address else address


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """A certificate that comes from elsewhere, in place of one that the leader makes when the worker joins."""

    certificate: Path | None = setting(
        None,
        "The worker's certificate, in PEM, from the CA in the leader's tls.client_ca_file; its common name is the "
        "worker's id. It is read again when the file changes. Empty: the worker joins, and gets one.",
    )
    key: Path | None = setting(None, "The key of identity.certificate, in PEM without a passphrase, mode 0600.")
    ca: Path | None = setting(
        None,
        "The CA of the leader's certificate, in PEM. Empty: that of the leader in the same data folder; else those "
        "that this system knows.",
    )


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """What is kept on this machine until the leader has it."""

    max_bytes: int = setting(
        GIB, "Bytes in all spools of this worker at most.", unit="bytes", low=16 * MIB, high=1024 * GIB
    )
    max_task_bytes: int = setting(
        256 * MIB, "Bytes in the spool of one task at most.", unit="bytes", low=4 * MIB, high=1024 * GIB
    )
    policy: str = setting(
        "block",
        "What happens when a spool or the disk is full. block: the task waits until there is space. truncate: the head "
        "and the tail of its output are kept, and what lies between becomes a gap.",
        choices=("block", "truncate"),
    )
    encryption: str = setting(
        "off",
        "on: spools are sealed with a key that is in memory only, and that the leader keeps, so that a stolen disk of "
        "this machine tells nothing that a task printed. A task starts once the leader holds the key; while it can't "
        "be reached and no key is at hand, new tasks wait.",
        choices=("off", "on"),
    )
    segment_bytes: int = setting(
        8 * MIB,
        "Size of a spool's files; space comes back file by file.",
        unit="bytes",
        low=2 * MIB,
        high=GIB,
    )


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How tasks are run and their output is read."""

    exit_wait_seconds: float = setting(
        5.0,
        "How long output of background processes is waited for after the task itself has ended.",
        unit="seconds",
        low=0,
        high=86_400,
    )
    grace_seconds: float = setting(
        10.0,
        "How long a task that was told to end (SIGTERM, SIGINT, time limit) may take before it is killed.",
        unit="seconds",
        low=0,
        high=86_400,
    )
    pipe_bytes: int = setting(
        MIB,
        "Size of the pipes between a task and its supervisor. The kernel may give less: /proc/sys/fs/pipe-max-size.",
        unit="bytes",
        low=4 * KIB,
        high=64 * MIB,
    )


@dataclass(frozen=True, slots=True)
class CriSettings:
    """A copy of tasks' output as container log files, for another collector that reads those."""

    dir: Path | None = setting(
        None,
        "Folder for the output of `joblog run` and `joblog pipe` in CRI format, in clear, laid out as /var/log/pods: "
        "NAMESPACE_RUN_ID/TASK/0.log. Give it a folder of its own. Empty: there is no such copy.",
    )
    max_file_bytes: int = setting(
        10 * MIB,
        "A file that would grow beyond it is rotated, as by the kubelet's containerLogMaxSize.",
        unit="bytes",
        low=64 * KIB,
        high=64 * GIB,
    )
    max_files: int = setting(
        5,
        "Files of a task at most, with the one that is written; the oldest go, read or not, as by the kubelet's "
        "containerLogMaxFiles.",
        low=2,
        high=1000,
    )
    mode: str = setting(
        "0600",
        "Mode of the files. With 0640 their group may read them, and look into their folders.",
        choices=("0600", "0640"),
    )
    keep_seconds: float = setting(
        86_400.0,
        "How long files of a task that has ended are kept after they were last written to; the next task's start "
        "removes older ones. 0: for good.",
        unit="seconds",
        low=0,
        high=10 * 365 * 86_400,
    )


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """Secrets that are replaced by *** before anything is written down."""

    env: tuple[str, ...] = setting((), "Variables of a task whose values are secret.")
    files: tuple[str, ...] = setting((), "Files with a secret value on each line.")
    arguments: bool = setting(False, "Keep only the program's name of a command line, not its arguments.")


@dataclass(frozen=True, slots=True)
class ShipSettings:
    """How spools get to the leader."""

    window_bytes: int = setting(
        32 * MIB,
        "Bytes that may be on the way to the leader. The leader's own window counts when it is smaller.",
        unit="bytes",
        low=MIB,
        high=GIB,
    )
    batch_bytes: int = setting(
        MIB,
        "Raw bytes that go into one batch at most. The leader's own limit counts when it is smaller.",
        unit="bytes",
        low=64 * KIB,
        high=4 * MIB,
    )
    backoff_min_seconds: float = setting(
        0.1,
        "Wait before the first try to reach the leader again; it doubles each time.",
        unit="seconds",
        low=0.01,
        high=60,
    )
    backoff_max_seconds: float = setting(
        10.0, "Wait between two tries at most. A random part is taken off.", unit="seconds", low=0.1, high=3600
    )


@dataclass(frozen=True, slots=True)
class WorkerSettings(Settings):
    """All settings of a worker; `joblog run` and `joblog pipe` use them too."""

    # The leader's.
    foreign_variables: ClassVar[tuple[str, ...]] = ("JOBLOG_OTLP_EXPORT_",)

    data_dir: Path | None = setting(
        None, "Folder for all state. Empty: $XDG_DATA_HOME/joblog, or ~/.local/share/joblog."
    )
    leader: str = setting(
        "",
        "The leader's gRPC address, HOST:PORT. Empty: the one in the token to join with; the leader that runs on this "
        "machine with the same data folder; the one that this worker has joined. With identity.certificate: where the "
        "leader listens for workers, its port 7082.",
        check=check_leader,
    )
    plaintext: bool = setting(
        False,
        "Talk to the leader without encryption: whoever is on the way sees logs and tokens. Only for a leader that was "
        "started the same way.",
    )
    drain_seconds: float = setting(
        10.0,
        "How long a worker that is told to stop goes on sending. What is left stays in the spools for its next start.",
        unit="seconds",
        low=0,
        high=3600,
    )
    identity: IdentitySettings = section(IdentitySettings, "What the worker shows to its leader.")
    spool: SpoolSettings = section(SpoolSettings, "What is kept on this machine until the leader has it.")
    capture: CaptureSettings = section(CaptureSettings, "How tasks are run and their output is read.")
    cri: CriSettings = section(CriSettings, "A copy of tasks' output as container log files, for another collector.")
    mask: MaskSettings = section(MaskSettings, "Secrets that are replaced by *** before anything is written down.")
    ship: ShipSettings = section(ShipSettings, "How spools get to the leader.")
    kubernetes: KubernetesSettings = section(KubernetesSettings, "The logs of this node's containers.")
    watch: WatchSettings = section(WatchSettings, "What `joblog watch` follows through the Kubernetes API.")
    docker: DockerSettings = section(DockerSettings, "The logs of this host's Docker containers.")
    journald: JournaldSettings = section(JournaldSettings, "What units of systemd print.")
    files: FilesSettings = section(FilesSettings, "Files that programs on this host write.")
    otlp: OtlpSettings = section(OtlpSettings, "Logs that programs with an OpenTelemetry SDK send.")
    log: LogSettings = section(LogSettings, "What the worker says about itself, on stderr.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        if (self.identity.certificate is None) != (self.identity.key is None):
            yield "identity.certificate", "and identity.key must be set together"
        if self.identity.certificate is not None and self.plaintext:
            yield "identity.certificate", "is shown to nobody where plaintext is on"
        if self.spool.max_task_bytes > self.spool.max_bytes:
            yield "spool.max_task_bytes", "must be at most spool.max_bytes"
        if 2 * self.spool.segment_bytes > self.spool.max_task_bytes:
            yield "spool.segment_bytes", "must be at most half of spool.max_task_bytes: head and tail take one each"
        if self.ship.window_bytes < self.ship.batch_bytes:
            yield "ship.window_bytes", "must be at least ship.batch_bytes"
        if self.ship.backoff_min_seconds > self.ship.backoff_max_seconds:
            yield "ship.backoff_min_seconds", "must be at most ship.backoff_max_seconds"
        try:
            if self.files.follow:
                rules(self.files)
        except InvalidInput as error:
            yield "files.follow", f"is not allowed: {error}"
        try:
            rates(self.kubernetes)
        except InvalidInput as error:
            yield "kubernetes.byte_rates", f"is not allowed: {error}"
        yield from self.kubernetes.identity.problems("kubernetes.identity")
        yield from self.docker.problems()
        yield from self.journald.problems()
        yield from self.otlp.problems()
        if self.kubernetes.enabled and self.kubernetes.pod_log_dir is None:
            yield "kubernetes.pod_log_dir", "must be a folder"
