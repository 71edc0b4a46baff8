"""The leader's settings of how long logs are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joblog.errors import InvalidInput
from joblog.leader.retention.policy import Policies
from joblog.settings import setting


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long logs are kept once their run has ended. Without settings: for ever."""

    policies: tuple[str, ...] = setting(
        (),
        "Which runs are kept for how long, each GLOB [label=KEY=VALUE]... [outcome=WORD]: [keep=TIME] [keep_last=N]. "
        "GLOB names namespaces, VALUE may be a glob, WORD is succeeded, failed or interrupted. The first one that "
        "names a run counts; a run that none names is kept for ever. keep: since the run ended, as 14d, or forever. "
        "keep_last: the newest N of the namespace that have the same values of the labels. With both, a run is kept "
        'as long as one of them keeps it. As "team-a-* outcome=failed: keep=90d".',
    )
    stored_bytes: tuple[str, ...] = setting(
        (),
        "Bytes that the ended runs of a namespace may take in buffer and archive, each GLOB: SIZE, of which the first "
        "one counts that names a namespace; each namespace has it for itself. Beyond it, runs go that ended first, "
        "whatever a policy says.",
    )
    interval_seconds: float = setting(
        3600.0, "How often the leader looks for runs to delete.", unit="seconds", low=1, high=30 * 86_400
    )
    logs_per_second: float = setting(
        500.0, "Logs that are deleted in a second at most. 0: no limit.", low=0, high=1_000_000
    )

    def parsed(self) -> Policies:
        """The policies. Raises InvalidInput."""
        return Policies.parse(self.policies, self.stored_bytes)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Policies that are none."""
        for key, policies, quotas in (
            ("retention.policies", self.policies, ()),
            ("retention.stored_bytes", (), self.stored_bytes),
        ):
            try:
                Policies.parse(policies, quotas)
            except InvalidInput as error:
                yield key, f"is not allowed: {error}"
