"""The worker's settings about units of systemd. Read by entry points only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.settings import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.journald.units import Units


@dataclass(frozen=True, slots=True)
class JournaldSettings:
    """Collects what units of systemd print, from the journal."""

    units: tuple[str, ...] = setting(
        (),
        "Units to collect, by globs over their names, as in nginx.service or backup@*.service. Each start of a unit is "
        "an attempt. Needs journalctl, and the right to read the journal: root, or the group systemd-journal. Empty: "
        "none.",
    )
    directory: Path | None = setting(
        None, "Folder of the journal's files, as this worker sees it. Empty: where journalctl looks on this machine."
    )
    since: str = setting(
        "boot",
        "From where the journal is read the first time. boot: the machine's last start. all: all that is there. now: "
        "what comes from now on.",
        choices=("boot", "all", "now"),
    )
    namespace: str = setting("default", "Namespace of the logs.")
    run: str = setting(
        "{prefix}",
        "Run of a unit's logs. {prefix} and {instance} are what is before and behind the @ of a unit's name, without "
        "its type; where it has no @, both are all of it. {unit} is the whole name, {host} that of this machine.",
    )
    task: str = setting("{instance}", "Task of a unit's logs; places as in journald.run.")

    def wanted(self, host: str) -> Units:
        """Which units, and their names. Raises InvalidInput."""
        from joblog.worker.journald.units import Units

        return Units(self.units, self.namespace, self.run, self.task, host)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that can't be."""
        if self.units:
            try:
                self.wanted("")
            except InvalidInput as error:
                yield "journald", f"has what is not allowed: {error}"
