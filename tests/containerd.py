"""A real containerd of the tests' own, driven through the CRI as the kubelet does, with an image made by hand."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_tools import protoc

from tests.e2e.machine import until
from tests.packages import install

IMAGE = "localhost/joblog-tests:1"
EXITED = 2
_PACKAGES = ("containerd", "runc", "busybox-static")
_BUSYBOX = "/bin/busybox"
_CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"""


def missing() -> str:
    """Why no container can be run here; empty where that is possible, after it was installed where need be."""
    if os.geteuid() != 0:
        return "running containers takes root"
    if not (shutil.which("containerd") and shutil.which("runc") and Path(_BUSYBOX).exists()):
        return install("containerd", _PACKAGES)
    return ""


class Runtime:
    """The CRI of a containerd that runs."""

    def __init__(self, folder: Path) -> None:
        self._messages, self._services = _stubs(folder)
        self._channel = grpc.insecure_channel(f"unix:{folder}/c.sock")
        self._pods: list[tuple[str, Any]] = []
        self._stub = self._services.RuntimeServiceStub(self._channel)

    def is_up(self) -> bool:
        try:
            self._stub.Version(self._messages.VersionRequest(version="v1"), timeout=5)
        except grpc.RpcError:
            return False
        return True

    def run_pod(self, namespace: str, name: str, uid: str, logs: Path) -> tuple[str, Any]:
        """A pod in the host's network: (id, configuration)."""
        made = self._messages
        options = made.NamespaceOption(network=made.NODE)
        config = made.PodSandboxConfig(
            metadata=made.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
            log_directory=str(logs),
            linux=made.LinuxPodSandboxConfig(
                security_context=made.LinuxSandboxSecurityContext(namespace_options=options)
            ),
        )
        ident = self._stub.RunPodSandbox(made.RunPodSandboxRequest(config=config), timeout=60).pod_sandbox_id
        self._pods.append((ident, config))
        return self._pods[-1]

    def start(self, pod: tuple[str, Any], name: str, restart: int, script: str) -> str:
        """Starts a container that runs a shell script; its id."""
        made = self._messages
        options = made.NamespaceOption(network=made.NODE)
        config = made.ContainerConfig(
            metadata=made.ContainerMetadata(name=name, attempt=restart),
            image=made.ImageSpec(image=IMAGE),
            command=[_BUSYBOX, "sh", "-c", script],
            log_path=f"{name}/{restart}.log",
            linux=made.LinuxContainerConfig(
                security_context=made.LinuxContainerSecurityContext(namespace_options=options)
            ),
        )
        request = made.CreateContainerRequest(pod_sandbox_id=pod[0], config=config, sandbox_config=pod[1])
        ident: str = self._stub.CreateContainer(request, timeout=60).container_id
        self._stub.StartContainer(made.StartContainerRequest(container_id=ident), timeout=60)
        return ident

    def reopen_log(self, container: str) -> None:
        self._stub.ReopenContainerLog(self._messages.ReopenContainerLogRequest(container_id=container), timeout=30)

    def has_exited(self, container: str) -> bool:
        request = self._messages.ContainerStatusRequest(container_id=container)
        return bool(self._stub.ContainerStatus(request, timeout=30).status.state == EXITED)

    def remove_pod(self, pod: tuple[str, Any]) -> None:
        self._pods.remove(pod)
        self._stub.StopPodSandbox(self._messages.StopPodSandboxRequest(pod_sandbox_id=pod[0]), timeout=60)
        self._stub.RemovePodSandbox(self._messages.RemovePodSandboxRequest(pod_sandbox_id=pod[0]), timeout=60)

    def close(self) -> None:
        """Removes what a failed test has left."""
        for pod in list(self._pods):
            self.remove_pod(pod)
        self._channel.close()


def _stubs(folder: Path) -> tuple[Any, Any]:
    where = folder / "stubs"
    where.mkdir()
    proto = Path(__file__).with_name("cri.proto")
    code = protoc.main(["", f"-I{proto.parent}", f"--python_out={where}", f"--grpc_python_out={where}", str(proto)])
    assert code == 0
    sys.path.insert(0, str(where))
    try:
        return importlib.import_module("cri_pb2"), importlib.import_module("cri_pb2_grpc")
    finally:
        sys.path.remove(str(where))


def _image(path: Path) -> None:
    """An image that holds busybox alone, as `docker save` would write it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(_BUSYBOX, "bin/busybox")
    content = layer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": [_BUSYBOX, "sleep", "1000000"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in (("layer.tar", content), ("config.json", config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


@contextmanager
def runtime(folder: Path) -> Iterator[Runtime]:
    """Starts containerd on a folder, with the image in it."""
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(folder=folder, image=IMAGE))
    _image(folder / "image.tar")
    with (folder / "containerd.messages").open("wb") as messages:
        process = subprocess.Popen(["containerd", "--config", str(config)], stdout=messages, stderr=messages)
    made = Runtime(folder)
    try:
        until(made.is_up, "containerd is up")
        ctr = ["ctr", "--address", f"{folder}/c.sock", "-n", "k8s.io", "images", "import", str(folder / "image.tar")]
        done = subprocess.run(ctr, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        yield made
        made.close()
    except BaseException:
        with contextlib.suppress(grpc.RpcError):
            made.close()
        raise
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
