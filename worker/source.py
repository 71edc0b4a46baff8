"""Which leader a worker was told of: on its command line, in its environment, or by having joined before.

Imports next to nothing: every `joblog run` looks here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from joblog.address import is_plaintext, read_leader_file
from joblog.credentials import token_from_environment
from joblog.errors import InvalidInput, NotFound
from joblog.paths import DataFolder
from joblog.token import Token
from joblog.worker.order import JOIN_VARIABLE


class JoinSource(NamedTuple):
    """leader: an address; empty: that of the token, or the leader in the data folder.

    join: a token to join with. token: one of a writer that is there for clients too, which counts less.
    """

    leader: str = ""
    join: Token | None = None
    token: Token | None = None
    plaintext: bool = False

    @property
    def any_token(self) -> Token | None:
        """The one that counts."""
        return self.join or self.token

    @property
    def address(self) -> str:
        """The address that was given; empty where none was."""
        return self.leader or (self.any_token.address if self.any_token is not None else "")


def join_source(leader: str, environ: Mapping[str, str], *, join: str = "", plaintext: bool = False) -> JoinSource:
    """What was said. join: a token's text, over JOBLOG_JOIN_TOKEN. Raises InvalidInput for a token that is none."""
    text = join or environ.get(JOIN_VARIABLE, "")
    try:
        token = Token.parse(text) if text else None
    except InvalidInput as error:
        raise InvalidInput(f"{'--join' if join else JOIN_VARIABLE}: {error}") from None
    return JoinSource(leader, token, token_from_environment(environ), plaintext or is_plaintext(environ))


def known_address(folder: DataFolder, source: JoinSource) -> str:
    """The address of the leader that is known here; empty where none is."""
    if source.address:
        return source.address
    try:
        return read_leader_file(folder.root).grpc_address
    except NotFound:
        pass
    try:
        return str(json.loads((folder.worker_identity / "join.json").read_bytes())["leader"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
