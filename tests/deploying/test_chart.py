"""The Helm chart by the real helm: what it gives is valid, and is what joblog takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from joblog.leader.settings import LeaderSettings
from joblog.settings import load
from joblog.worker.settings import WorkerSettings
from tests.deploying.conftest import CHART, ROOT, Helm
from tests.deploying.manifests import check, objects, one, pod_spec, variables
from tests.deploying.rights import WATCHER, allowed

EVERYTHING = """
fullnameOverride: logs
image: {repository: registry.example.com/joblog, digest: "sha256:%s", pullSecrets: [pull]}
leader:
  settings:
    archive.url: s3://bucket/prefix
    archive.pack_max_bytes: 268435456
    ingest.commit_max_delay_seconds: 0.25
    http.open_metrics: true
    death_reports.exit_codes: ["1-127", "130"]
  extraEnv: [{name: JOBLOG_KEYS_PASSPHRASE, valueFrom: {secretKeyRef: {name: kek, key: passphrase}}}]
  extraEnvFrom: [{secretRef: {name: archive}}]
  extraVolumes: [{name: ca, configMap: {name: ca}}]
  extraVolumeMounts: [{name: ca, mountPath: /etc/joblog/ca, readOnly: true}]
  tls: {secret: logs-tls, names: [logs.example.com]}
  persistence: {storageClass: fast, size: 100Gi, retain: {whenDeleted: Delete, whenScaled: Retain}}
  service: {type: LoadBalancer, annotations: {example.com/internal: "true"}}
  serviceAccount: {annotations: {eks.amazonaws.com/role-arn: arn}}
  podDisruptionBudget: {maxUnavailable: 0}
  nodeSelector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Exists}]
  affinity: {nodeAffinity: {}}
  priorityClassName: high
  podAnnotations: {note: a}
  podLabels: {team: platform}
agents:
  settings: {kubernetes.exclude: [kube-system, "*/istio-proxy"], otlp.listen: "0.0.0.0:4317"}
  linkedDirs: [/var/lib/docker/containers]
  seLinuxType: spc_t
  priorityClassName: system-node-critical
  networkPolicy: {from: [{namespaceSelector: {}}]}
watcher: {enabled: true, namespaces: [ci, builds], settings: {watch.selector: "app in (a, b)"}}
serviceMonitor:
  enabled: true
  token: {secret: metrics}
  ca: {configMap: {name: ca, key: ca.crt}}
  from: [{namespaceSelector: {matchLabels: {name: monitoring}}}]
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
""" % ("0" * 64)

VALUES = {
    "defaults": "",
    "everything": EVERYTHING,
    "agents alone": "leader: {enabled: false}\nagents: {leader: 'logs.example.com:7080', api: false}\n",
    "a leader alone": "agents: {enabled: false}\nleader: {persistence: {enabled: false}}\n",
    "a watcher of all namespaces": "watcher: {enabled: true}\nagents: {enabled: false}\n",
    "an open leader": (
        "leader: {settings: {http.open_metrics: true}}\nserviceMonitor: {enabled: true, insecureSkipVerify: true}\n"
    ),
}


def test_helm_has_nothing_to_say_against_it(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_all_that_it_gives_is_valid(values: str, helm: Helm) -> None:
    found = objects(helm.template(values))

    assert found
    for item in found:
        check(item)
        places: set[str | None] = {None} if item["kind"].startswith("Cluster") else {"joblog"}
        if item["kind"] in ("Role", "RoleBinding"):
            places |= {"ci", "builds"}
        assert item["metadata"].get("namespace") in places


def test_the_plain_manifests_are_what_the_chart_gives(helm: Helm) -> None:
    assert objects((ROOT / "config/kubernetes/joblog.yaml").read_text()) == objects(helm.template()), "run `make chart`"
    check(yaml.safe_load((ROOT / "config/kubernetes/namespace.yaml").read_text()))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("leader: {persistance: {enabled: false}}", "persistance"),
        ("agents: {maxUnavailable: all}", "maxUnavailable"),
        ("leader: {podDisruptionBudget: {maxUnavailable: 2}}", "maxUnavailable"),
        ("image: {digest: latest}", "digest"),
        ("agents: {settings: {Kubernetes Exclude: x}}", "Kubernetes Exclude"),
        ("leader: {enabled: false}", "where is the leader"),
        ("serviceMonitor: {enabled: true, insecureSkipVerify: true}", "who may read metrics"),
        ("serviceMonitor: {enabled: true, token: {secret: x}}", "by what is the leader known"),
    ],
)
def test_bad_values_are_refused_and_named(values: str, says: str, helm: Helm) -> None:
    done = helm("template", "joblog", str(CHART), values=values)

    assert done.returncode != 0
    assert says in done.stderr


def test_values_and_their_schema_name_the_same() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(declared: dict[str, Any], given: dict[str, Any], at: str) -> None:
        assert declared["properties"].keys() - {"global"} == given.keys(), at
        for name, inner in declared["properties"].items():
            if "properties" in inner:
                compare(inner, given[name], f"{at}.{name}")

    compare(schema, values, "values")


def test_the_leaders_variables_are_settings_that_it_takes(helm: Helm) -> None:
    leader = one(objects(helm.template(EVERYTHING)), "StatefulSet", "logs-leader")
    settings = load(LeaderSettings, environ=variables(leader)).values

    assert str(settings.data_dir) == "/data/joblog"
    assert settings.grpc.listen == "0.0.0.0:7080"
    assert settings.http.listen == "0.0.0.0:7081"
    assert settings.grpc.workers_listen == "0.0.0.0:7082"
    assert settings.archive.url == "s3://bucket/prefix"
    assert settings.archive.pack_max_bytes == 256 << 20
    assert settings.ingest.commit_max_delay_seconds == 0.25
    assert settings.http.open_metrics
    assert settings.death_reports.exit_codes == ("1-127", "130")
    assert "logs-leader.joblog.svc" in settings.tls.names
    assert "logs.example.com" in settings.tls.names
    assert str(settings.tls.key) == "/etc/joblog/tls/tls.key"


def test_the_agents_variables_are_settings_that_they_take(helm: Helm) -> None:
    agents = one(objects(helm.template("agents: {linkedDirs: [/mnt/containers]}")), "DaemonSet", "joblog-agents")
    settings = load(WorkerSettings, environ=_known(variables(agents))).values

    assert settings.leader == "joblog-leader.joblog.svc:7080"
    assert settings.kubernetes.enabled
    assert settings.kubernetes.api.mode == "on"
    assert settings.kubernetes.linked_dirs == ("/mnt/containers",)
    assert str(settings.data_dir) == "/var/lib/joblog/agent"


def test_the_watchers_variables_are_settings_that_it_takes(helm: Helm) -> None:
    found = objects(helm.template(EVERYTHING))
    watcher = one(found, "Deployment", "logs-watcher")
    settings = load(WorkerSettings, environ=_known(variables(watcher))).values

    assert settings.watch.namespaces == ("ci", "builds")
    assert settings.watch.selector == "app in (a, b)"
    assert settings.watch.place() == one(found, "Lease", "logs-watcher")["metadata"]["namespace"]
    assert settings.watch.lease_name == "logs-watcher"
    assert {item["metadata"]["namespace"] for item in found if item["kind"] == "Role"} == {"joblog", "ci", "builds"}
    assert "ClusterRole" not in {item["kind"] for item in found if "watcher" in item["metadata"]["name"]}


@pytest.mark.parametrize("values", ["", "  namespaces: [ci]\n"], ids=["everywhere", "in some namespaces"])
def test_the_watcher_may_do_what_it_does(values: str, helm: Helm) -> None:
    manifests = helm.template(f"watcher:\n  enabled: true\n{values}")

    assert allowed("joblog-watcher", "joblog-watcher-lease", manifests=manifests) == WATCHER


def _known(found: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name != "JOBLOG_TOKEN_FILE"}


def test_the_leader_would_do_under_the_restricted_level(helm: Helm) -> None:
    spec = pod_spec(one(objects(helm.template()), "StatefulSet", "joblog-leader"))
    (container,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPath" in volume for volume in spec.get("volumes", []))
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False


def test_agents_read_logs_and_write_to_their_own_folder_alone(helm: Helm) -> None:
    spec = pod_spec(one(objects(helm.template(EVERYTHING)), "DaemonSet", "logs-agents"))
    (container,) = spec["containers"]
    folders = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}

    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "privileged" not in container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert folders == {
        "pod-logs": "/var/log/pods",
        "linked-0": "/var/lib/docker/containers",
        "state": "/var/lib/joblog",
    }
    assert [name for name in folders if not mounts[name].get("readOnly")] == ["state"]
    assert mounts["linked-0"]["mountPath"] == folders["linked-0"]


def test_selectors_find_the_pods_they_are_for(helm: Helm) -> None:
    found = objects(helm.template(EVERYTHING))
    pods = {
        kind: one(found, kind, name)["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("StatefulSet", "logs-leader"), ("DaemonSet", "logs-agents"))
    }
    leader, agents = pods["StatefulSet"], pods["DaemonSet"]

    def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
        return selector.items() <= labels.items()

    service = one(found, "Service", "logs-leader")
    assert selects(service["spec"]["selector"], leader)
    assert not selects(service["spec"]["selector"], agents)
    policy = one(found, "NetworkPolicy", "logs-leader")
    assert selects(policy["spec"]["podSelector"]["matchLabels"], leader)
    assert selects(policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], agents)
    budget = one(found, "PodDisruptionBudget", "logs-leader")
    assert selects(budget["spec"]["selector"]["matchLabels"], leader)
    monitor = one(found, "ServiceMonitor", "logs-leader")
    assert selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
