"""What requests to the Kubernetes API are in the words of RBAC, and what roles of the manifests allow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.deploying.conftest import ROOT

# What `joblog watch` needs; the chart makes the lease.
WATCHER = {
    ("pods", "list"),
    ("pods", "watch"),
    ("pods", "get"),
    ("pods/log", "get"),
    ("leases", "get"),
    ("leases", "update"),
}
_PATH = re.compile(r"/apis?/([^/]+/)?v1(/namespaces/[^/]+)?/(?P<kind>[a-z]+)(/(?P<name>[^/]+)(/(?P<part>[a-z]+))?)?\Z")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def used(requests: Iterable[str]) -> set[tuple[str, str]]:
    """(resource, verb) of `METHOD PATH?QUERY`s."""
    found = set()
    for request in requests:
        method, address = request.split(" ", 1)
        parts = urlsplit(address)
        match = _PATH.match(parts.path)
        assert match, request
        resource = match["kind"] + (f"/{match['part']}" if match["part"] else "")
        if method == "GET":
            watches = parse_qs(parts.query).get("watch", [""])[0].lower() in ("1", "true")
            verb = "watch" if watches else "get" if match["name"] else "list"
        else:
            verb = _VERBS[method]
        found.add((resource, verb))
    return found


def allowed(*roles: str, manifests: str = "") -> set[tuple[str, str]]:
    """(resource, verb) that roles of manifests give; of config/kubernetes/joblog.yaml where there are none."""
    documents = yaml.safe_load_all(manifests or (ROOT / "config/kubernetes/joblog.yaml").read_text())
    return {
        (resource, verb)
        for item in documents
        if item and item["kind"] in ("Role", "ClusterRole") and item["metadata"]["name"] in roles
        for rule in item["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
