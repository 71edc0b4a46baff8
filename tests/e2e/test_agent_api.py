"""The node agent with a Kubernetes API: names by rules, ends by status, deaths told, through real processes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.deploying.rights import allowed, used
from tests.e2e.machine import until
from tests.fault.node import Node, node
from tests.kubernetes_api import kubernetes_api
from tests.unit.kubernetes_pods import ended, pod_json, state_of

HOST = socket.gethostname()


def known(where: Node, name: LogName) -> logs_pb2.GetLogResponse | None:
    try:
        with Client(data_dir=where.cluster.leader_dir) as client:
            return client.log(name)
    except JoblogError:
        return None


def completed(where: Node, name: LogName) -> logs_pb2.GetLogResponse:
    def look() -> logs_pb2.GetLogResponse | None:
        found = known(where, name)
        return found if found is not None and found.log.state == types_pb2.LOG_STATE_COMPLETED else None

    found: logs_pb2.GetLogResponse = until(look, f"{name} is completed")
    return found


def test_names_ends_and_deaths_come_from_the_api(tmp_path: Path) -> None:
    with kubernetes_api() as api:
        file = api.kubeconfig(tmp_path / "kubeconfig")
        settings = {"JOBLOG_KUBERNETES_API_KUBECONFIG": str(file), "JOBLOG_DEATH_REPORTS_STDOUT": "on"}
        with node(tmp_path, **settings) as where:
            uid = "5f3c0a7e"

            def pod(name: str, **more: Any) -> dict[str, Any]:
                return pod_json(name, "ci", uid=f"{uid}-{name}", node=HOST, **more)

            job = {"owner": ("Job", "etl"), "annotations": {"batch.kubernetes.io/job-completion-index": "3"}}
            api.put_pod(pod("etl-3-x", **job))
            api.put_pod(pod("oom"))
            api.put_pod(pod("evicted"))
            logs = {
                name: where.container(name, uid=f"{uid}-{name}") for name in ("etl-3-x", "oom", "evicted", "not-asked")
            }
            api.put_pod(pod("not-asked", annotations={"joblog.dev/collect": "false"}))
            for name, log in logs.items():
                log.print(f"{name} begins\n".encode())
            where.start()
            etl = LogName("ci", "etl", "3:main", 1)
            until(lambda: known(where, etl), "the job's log is there")
            for name, log in logs.items():
                log.print(f"last of {name}\n".encode())
                log.end()
            api.put_pod(pod("etl-3-x", phase="Succeeded", containerStatuses=[state_of("main", ended(0))], **job))
            dead = ended(137, "OOMKilled")
            api.put_pod(pod("oom", phase="Failed", containerStatuses=[state_of("main", dead)]))
            api.put_pod(
                pod(
                    "evicted",
                    phase="Failed",
                    reason="Evicted",
                    message="disk pressure",
                    containerStatuses=[state_of("main", ended(143))],
                )
            )
            found = completed(where, etl)
            assert (found.log.outcome.kind, found.log.outcome.exit_code) == (types_pb2.OUTCOME_KIND_EXITED, 0)
            assert found.log.start.labels["kubernetes.owner"] == "Job/etl"
            oom = completed(where, LogName("ci", "oom", "main", 1))
            assert oom.log.outcome.oom_killed
            evicted = completed(where, LogName("ci", "evicted", "main", 1))
            assert evicted.log.outcome.kind == types_pb2.OUTCOME_KIND_EVICTED
            assert evicted.log.outcome.message == "Evicted: disk pressure"

            def printed() -> list[dict[str, Any]]:
                lines = where.cluster.messages("leader").read_text().splitlines()
                return [json.loads(line) for line in lines if line.startswith('{"type": "death_report"')]

            until(lambda: len(printed()) == 2, "two deaths are told")
            by_pod = {said["pod"]: said for said in printed()}
            assert (by_pod["oom"]["reason"], by_pod["oom"]["node"]) == ("oom_killed", HOST)
            assert by_pod["oom"]["tail"] == "oom begins\nlast of oom\n"
            assert by_pod["evicted"]["reason"] == "evicted"
            assert known(where, LogName("ci", "not-asked", "main", 1)) is None
            where.cluster.assert_no_crash()
        # The chart gives agents what they ask for, and no more.
        assert used(api.requests) == allowed("joblog-agents")
