"""How long a run is kept, as those who look at it are told."""

from __future__ import annotations

from joblog.formats import rfc3339_nano
from joblog.leader.buffer.store import RunFilter, Store
from joblog.leader.retention.held import holds_on
from joblog.leader.retention.policy import ENDED, Policies, Policy
from joblog.leader.retention.sweep import last_heard_ns
from joblog.v1 import types_pb2
from joblog.v1.retention_pb2 import Hold
from joblog.v1.types_pb2 import Kept, RunRecord
from joblog.values import format_size

# So many runs are looked at to tell whether one is among the last of its group.
_LOOKED = 2000
_PAGE = 500
# So many logs of a run are looked at for held labels of their own; in a list, of each run.
_LOOKED_LOGS = 10_000
_LISTED_LOGS = 100


class Keeping:
    """Tells what policies and holds mean for a run. Thread-safe."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies

    def kept(self, run: RunRecord, *, counting: bool = False) -> Kept:
        """How long the run is kept, as of now. counting: also looks how many newer ones there are; reads the store."""
        policy = self._policies.of(run)
        held = self._held_by(run, _LOOKED_LOGS if counting else _LISTED_LOGS)
        due_ns, says = self._due(run, policy, counting)
        quota = self._policies.quota_of(run.namespace) if run.state in ENDED else None
        if quota is not None:
            says += f"; earlier, the oldest first, when the namespace takes more than {format_size(quota.bytes)}"
        if held:
            rest = f"; else due at {rfc3339_nano(due_ns)}" if due_ns else ""
            return Kept(
                policy=policy.text if policy else "", held_by=held, says=f"on legal hold ({', '.join(held)}){rest}"
            )
        return Kept(policy=policy.text if policy else "", due_ns=due_ns, says=says)

    def of(self, namespace: str, run: str) -> Kept | None:
        """The same by name; None where there is no such run. Reads the store."""
        record = self._store.get_run(namespace, run)
        return None if record is None else self.kept(record, counting=True)

    def _held_by(self, run: RunRecord, max_logs: int) -> list[str]:
        found = list(map(_words, holds_on(self._store, run, max_logs)))
        unreadable = self._store.holds.present.unreadable
        return ["what could not be read of a former leader's holds", *found] if unreadable else found

    def _due(self, run: RunRecord, policy: Policy | None, counting: bool) -> tuple[int, str]:
        if run.state == types_pb2.RUN_STATE_LIVE:
            return 0, "kept until it has ended, and then as a policy says"
        if policy is None:
            if run.state == types_pb2.RUN_STATE_INTERRUPTED:
                return 0, "interrupted: it may go on, and is kept"
            return 0, "kept for ever: no policy names it"
        if policy.is_forever:
            return 0, "kept for ever"
        ended_ns = run.completed_ns if run.state in ENDED else last_heard_ns(self._store, run)
        past_ns = ended_ns + (policy.keep_seconds or 0) * 10**9
        if not policy.keep_last:
            return past_ns, "kept for so long after its end"
        newer = self._newer(run, policy) if counting else None
        if newer is not None and newer >= policy.keep_last:
            return past_ns, f"{policy.keep_last:,} or more newer runs have ended"
        left = "" if newer is None else f": due once {policy.keep_last - newer:,} more have ended"
        return 0, f"kept while it is one of the last {policy.keep_last:,}{left}"

    def _newer(self, run: RunRecord, policy: Policy) -> int | None:
        """How many newer runs of the group have ended, as far as that matters; None where too many would be looked at.

        The newest come first.
        """
        labels = tuple((label, run.labels[label]) for label, _ in policy.labels)
        where = RunFilter(policy.states, labels, created_from_ns=run.created_ns)
        newer, looked, token = 0, 0, ""
        while looked < _LOOKED:
            runs, token = self._store.list_runs(run.namespace, where, token, _PAGE)
            looked += len(runs)
            for other in runs:
                if (other.created_ns, other.run) > (run.created_ns, run.run) and self._policies.of(other) is policy:
                    newer += 1
                    if newer == policy.keep_last:
                        return newer
            if not token:
                return newer
        return None


def _words(hold: Hold) -> str:
    return "run" if hold.run else f"label {hold.label}={hold.value}"
