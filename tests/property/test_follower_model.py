"""A follower against everything that happens to a container's files: it reads what was printed, once, in order."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from joblog.worker.following.files import FileKey
from joblog.worker.following.follower import Follower
from joblog.worker.following.place import decode_place
from joblog.worker.formats.cri import Cri
from tests.examples import examples
from tests.kubelet_writer import ContainerLog

texts = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" ") + b"\n"), min_size=1, max_size=5)


class Following(RuleBasedStateMachine):
    """The kubelet keeps three files, so that what was not read is gone soon: the model knows what can be lost."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.ticks = 0
        self.log = ContainerLog(self.folder, "ns", "pod", clock=self.tick).keep()
        self.now = 0.0
        self.read = bytearray()
        self.follower: Follower | None = None
        self.place: str | None = None
        self.cuts = 0
        self.copies = 0
        self.unlooked = 0
        self.attach()

    def tick(self) -> int:
        self.ticks += 1
        return 1_700_000_000_123_456_789 + self.ticks * 1_234_567

    def attach(self) -> None:
        self.follower = Follower(str(self.log.path), [os.path.realpath(self.folder)], clock=lambda: self.now)
        if self.place is None:
            assert self.follower.begin()
        else:
            assert self.follower.resume(decode_place(json.loads(self.place)))

    def teardown(self) -> None:
        if self.follower is not None:
            self.follower.close()
        self.log.end()
        shutil.rmtree(self.folder)

    @rule(lines=texts, stream=st.sampled_from([1, 2]))
    def print(self, lines: list[bytes], stream: int) -> None:
        self.log.print(b"".join(lines), stream)

    @rule(size=st.integers(1, 40_000), ended=st.booleans())
    def print_long(self, size: int, ended: bool) -> None:
        self.log.print(b"x" * size + (b"\n" if ended else b""))

    @precondition(lambda self: self.follower is not None)
    @rule(where=st.floats(0, 1))
    def tear(self, where: float) -> None:
        """The follower sees a part of a line, and the rest later."""
        encoded = self.log._encoded(b"torn in two\n", 1)
        cut = 1 + int(where * (len(encoded) - 2))
        self.log._write(encoded[:cut])
        self.look()
        self.log._write(encoded[cut:])

    @precondition(lambda self: self.follower is not None and self.copies == 0)
    @rule(late=st.sampled_from([b"", b"late\n"]))
    def rotate(self, late: bytes) -> None:
        """With a follower that has seen the file; it need not have read it."""
        self.follower.refresh()  # type: ignore[union-attr]
        self.log.rotate(3, late=late)

    @precondition(lambda self: self.follower is None and self.cuts < 2 and self.copies == 0)
    @rule()
    def rotate_unseen(self) -> None:
        """Twice at most while nobody follows: what was written is still there, compressed or not."""
        self.cuts += 1
        self.log.rotate(5)

    @precondition(lambda self: self.follower is not None and self.copies == 0)
    @rule()
    def rotate_slowly(self) -> None:
        """The new file is there, and seen, when the runtime lets the old one have its last lines."""
        self.look()
        old = os.dup(self.log._fd)
        self.log.rotate(3)
        self.look()
        os.write(old, self.log._encoded(b"last line\n", 1))
        os.close(old)

    @precondition(lambda self: self.follower is not None and self.copies == 0 and self.unlooked < 2)
    @rule()
    def rotate_between_looks(self) -> None:
        """Several times, as long as nothing is deleted that was not seen."""
        self.unlooked += 1
        self.log.rotate(6)

    @precondition(lambda self: self.follower is not None and self.log.rotations == 0)
    @rule(refill=st.booleans())
    def copy_and_truncate(self, refill: bool) -> None:
        self.look()
        size = self.log.size()
        if self.log.size() and len(self.follower.files) == 1:  # type: ignore[union-attr]
            self.copies += 1
            self.log.truncate_in_copy()
            if refill:
                # As large as before, and more, when it is looked at.
                self.log.print(b"y" * min(size, 16_000) + b"\n")
                while self.log.size() <= size:
                    self.log.print(b"y" * 1000 + b"\n")
            self.look()

    @rule(seconds=st.sampled_from([0.1, 0.6]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.follower is not None)
    @rule(length=st.sampled_from([1 << 16, 1 << 20]))
    def look(self, length: int = 1 << 20) -> None:
        follower = self.follower
        assert follower is not None
        follower.refresh()
        self.unlooked = 0
        while True:
            block = follower.read(length)
            decoded = Cri().decode(block.data, whole=block.last, after_ns=0, now_ns=2**62)
            if decoded.consumed:
                follower.advance(block.data, decoded.consumed)
                self.read += decoded.raw
                place = follower.place()
                assert place is not None
                self.place = json.dumps(place.encode())
            if block.last and decoded.consumed == len(block.data):
                follower.next_file()
            elif not decoded.consumed:
                return

    @precondition(lambda self: self.follower is not None)
    @rule()
    def kill(self) -> None:
        """A place is noted with each block. What was read of a file that is gone since tells nobody where to go on."""
        follower = self.follower
        assert follower is not None
        follower.refresh()
        noted = decode_place(json.loads(self.place)).key if self.place else None
        if any(file.is_deleted() for file in follower.files):
            return
        if noted is not None and noted not in {
            FileKey(p.stat().st_dev, p.stat().st_ino) for p in self.log.folder.iterdir()
        }:
            return
        follower.close()
        self.follower, self.cuts = None, 0

    @precondition(lambda self: self.follower is None)
    @rule()
    def start(self) -> None:
        self.attach()

    @invariant()
    def nothing_is_made_up(self) -> None:
        assert self.log.printed.startswith(bytes(self.read))

    @rule()
    def all_is_read(self) -> None:
        if self.follower is None:
            self.attach()
        for _ in range(8):
            self.look()
            self.now += 1
        assert bytes(self.read) == self.log.printed
        assert self.follower is not None
        assert not self.follower.losses

    @rule()
    def pod_is_deleted(self) -> None:
        if self.follower is None:
            self.attach()
        self.follower.refresh()  # type: ignore[union-attr]
        self.log.delete_pod()
        for _ in range(8):
            self.look()
            self.now += 1
        assert bytes(self.read) == self.log.printed
        assert self.follower is not None
        assert self.follower.is_gone()
        self.follower.close()
        self.copies = 0
        self.place, self.read = None, bytearray()
        self.log = ContainerLog(self.folder, "ns", "pod", clock=self.tick).keep()
        self.attach()


TestFollowing = Following.TestCase
# Without a look at why an example failed, which would trace each line.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
TestFollowing.settings = settings(max_examples=examples(25), stateful_step_count=25, deadline=None, phases=PHASES)
