"""Which leader a worker was told of: on its command line, in its environment, or by having joined before.

Imports next to nothing: every `joblog run` looks here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from joblog.address import is_plaintext, read_leader_file
from joblog.credentials import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, token_from_environment, token_from_file
from joblog.errors import InvalidInput, NotFound
from joblog.paths import DataFolder
from joblog.token import Token
from joblog.worker.order import JOIN_VARIABLE


class JoinSource(NamedTuple):
    """leader: an address; empty: that of the token, or the leader in the data folder.

    join: a token to join with. token: one of a writer that is there for clients too, which counts less; token_file:
    where that was read from.
    """

    leader: str = ""
    join: Token | None = None
    token: Token | None = None
    plaintext: bool = False
    token_file: str = ""

    def read_again(self) -> JoinSource:
        """The same with what its file says now: a token may have been replaced, as when its leader lost its disk."""
        if not self.token_file:
            return self
        try:
            return self._replace(token=token_from_file(Path(self.token_file)))
        except InvalidInput:
            return self

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
    file = "" if environ.get(TOKEN_VARIABLE) else environ.get(TOKEN_FILE_VARIABLE, "")
    return JoinSource(
        leader,
        token,
        token_from_environment(environ),
        plaintext or is_plaintext(environ),
        str(Path(file).expanduser()) if file else "",
    )


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
