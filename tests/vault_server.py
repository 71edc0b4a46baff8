"""A small server that speaks the documented HTTP API of Vault's Transit engine and of two logins, on loopback.

It is no Vault: it was written from the API's documentation, so that the client can be tried where no Vault can be had.
Keys are versioned, and derived from the context when they are made so; what they encrypt is AES-256-GCM.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import urandom
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Refused(Exception):
    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status)
        self.status = status
        self.errors = list(errors)


class TransitKey:
    def __init__(self, *, derived: bool) -> None:
        self.derived = derived
        self.versions = [urandom(32)]
        self.min_decryption_version = 1

    def cipher(self, version: int, body: dict[str, Any]) -> AESGCM:
        key = self.versions[version - 1]
        if not self.derived:
            return AESGCM(key)
        context = base64.b64decode(body.get("context", ""))
        if not context:
            raise Refused(400, "missing 'context' for key derivation; the key was created using a derived key")
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=context).derive(key))

    def encrypt(self, plain: bytes, body: dict[str, Any]) -> dict[str, Any]:
        version, nonce = len(self.versions), urandom(12)
        sealed = nonce + self.cipher(version, body).encrypt(nonce, plain, None)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}", "key_version": version}

    def decrypt(self, body: dict[str, Any]) -> bytes:
        parts = str(body.get("ciphertext", "")).split(":")
        if len(parts) != 3 or parts[0] != "vault" or not parts[1].startswith("v"):
            raise Refused(400, "invalid ciphertext: no prefix")
        try:
            version, sealed = int(parts[1][1:]), base64.b64decode(parts[2], validate=True)
        except (ValueError, binascii.Error):
            raise Refused(400, "invalid ciphertext: could not decode base64") from None
        if not 0 < version <= len(self.versions):
            raise Refused(400, "invalid ciphertext: version is too new")
        if version < self.min_decryption_version:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        if len(sealed) < 12 + 16:
            raise Refused(400, "invalid ciphertext length")
        try:
            return self.cipher(version, body).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag:
            raise Refused(400, "cipher: message authentication failed") from None


class VaultServer:
    """What it holds and how it behaves; change it while it serves. requests: "METHOD path" of each, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, TransitKey] = {}
        self.tokens = {"root-token"}
        self.role_ids = {"role-1": "secret-1"}
        self.jwts = {"jwt-1"}
        self.namespace = ""
        self.sealed = False
        self.busy = False
        self.released = threading.Event()
        self.released.set()
        self.requests: list[str] = []

    def reply(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(f"{method} {path}")
        self.released.wait()
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if self.busy:
            raise Refused(429, "request path: rate limit quota exceeded")
        parts = path.removeprefix("/v1/").split("/")
        if (headers.get("X-Vault-Namespace") or "") != self.namespace:
            raise Refused(404)
        if parts[0] == "auth":
            return {"auth": {"client_token": self._login(parts[1:], body)}}
        if headers.get("X-Vault-Token") not in self.tokens:
            raise Refused(403, "permission denied")
        return {"data": self._transit(method, parts, body)}

    def _login(self, parts: list[str], body: dict[str, Any]) -> str:
        known = self.role_ids.get(body.get("role_id", ""))
        by_role = parts == ["approle", "login"] and known is not None and body.get("secret_id") == known
        by_jwt = parts == ["kubernetes", "login"] and body.get("jwt") in self.jwts and body.get("role") == "joblog"
        if not by_role and not by_jwt:
            raise Refused(400, "invalid role or secret ID")
        token = f"hvs.{secrets.token_hex(8)}"
        self.tokens.add(token)
        return token

    def _transit(self, method: str, parts: list[str], body: dict[str, Any]) -> dict[str, Any]:
        if parts[0] != "transit" or len(parts) < 3:
            raise Refused(404)
        key = self.keys.get(parts[2])
        if parts[1] == "keys":
            return self._key(method, key, parts[3:])
        if key is None:
            raise Refused(400, "encryption key not found")
        if parts[1] == "encrypt":
            return key.encrypt(base64.b64decode(body["plaintext"]), body)
        if parts[1] == "decrypt":
            return {"plaintext": base64.b64encode(key.decrypt(body)).decode()}
        if parts[1] == "rewrap":
            return key.encrypt(key.decrypt(body), body)
        raise Refused(404)

    @staticmethod
    def _key(method: str, key: TransitKey | None, rest: list[str]) -> dict[str, Any]:
        if key is None:
            raise Refused(404)
        if method == "POST" and rest == ["rotate"]:
            key.versions.append(urandom(32))
        return {"derived": key.derived, "latest_version": len(key.versions), "type": "aes256-gcm96"}


@contextmanager
def vault_server(tls: ssl.SSLContext | None = None) -> Iterator[VaultServer]:
    vault = VaultServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one segment: in two, the second waits for the first one's ack.
        wbufsize = -1

        def handle_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, said = 200, vault.reply(self.command, self.path, self.headers, json.loads(sent or b"{}"))
            except Refused as refused:
                status, said = refused.status, {"errors": refused.errors}
            data = json.dumps(said).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names that the library looks for

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A client that does not trust the certificate is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    vault.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield vault
    finally:
        vault.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
