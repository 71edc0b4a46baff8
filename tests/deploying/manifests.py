"""Manifests as objects, and how they are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

Json = dict[str, Any]

# The oldest that Chart.yaml names, and the newest.
VERSIONS = ("1.27", "1.37")
_CRDS = Path(__file__).parent / "crds"


def objects(text: str) -> list[Json]:
    """The objects in YAML documents."""
    return [found for found in yaml.safe_load_all(text) if found]


def one(found: list[Json], kind: str, name: str) -> Json:
    """The only object of a kind and name."""
    (match,) = [item for item in found if item["kind"] == kind and item["metadata"]["name"] == name]
    return match


def check(item: Json) -> None:
    """Against the schemas of Kubernetes, nothing unknown in it; those of the Prometheus operator (0.93) for its own."""
    if item["apiVersion"].startswith("monitoring.coreos.com/"):
        jsonschema.validate(item, json.loads((_CRDS / f"{item['kind'].lower()}.json").read_text()))
        return
    for version in VERSIONS:
        kubernetes_validate.validate(item, version, strict=True)


def pod_spec(item: Json) -> Json:
    """Of a workload."""
    spec: Json = item["spec"]["template"]["spec"]
    return spec


def variables(item: Json) -> dict[str, str]:
    """A workload's variables with fixed values. The last one of a name counts, as in a container."""
    (container,) = pod_spec(item)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
