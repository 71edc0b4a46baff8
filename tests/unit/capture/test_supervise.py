"""What a task writes arrives as it was, and how it ended is told."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.unit.capture.supervised import Supervised, python, run, shell


def test_both_streams_exit_code_and_echo(tmp_path: Path) -> None:
    got, code, stdout, stderr = run(tmp_path, shell("echo out; echo err >&2; echo more; exit 3"))
    assert code == 3
    assert (stdout, stderr) == (b"out\nmore\n", b"err\n")
    assert bytes(got.streams[1]) == b"out\nmore\n"
    assert bytes(got.streams[2]) == b"err\n"
    assert got.outcome["kind"] == 1
    assert got.outcome["exit_code"] == 3
    assert 0 < got.outcome["started_ns"] <= got.times_ns[0] <= got.outcome["ended_ns"]
    assert got.outcome["peak_memory_bytes"] > 100_000
    assert got.outcome["cpu_seconds"] >= 0
    assert got.end is not None
    assert got.end.sha256 == hashlib.sha256(got.data).digest()


def test_quiet_shows_nothing(tmp_path: Path) -> None:
    got, _, stdout, stderr = run(tmp_path, shell("echo out; echo err >&2"), echo=False)
    assert (stdout, stderr) == (b"", b"")
    assert len(got.data) == 8


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 10,
        b"\0" * 5000,
        b"\xff\xfe\xc3\x28 \xf0\x28\x8c\x28\n",
        b"10%\r20%\r30%\r\ndone",
        b"no newline at the end",
        b"\n" * 3000,
    ],
)
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    got, code, stdout, _ = run(tmp_path, python(f"import os; os.write(1, {data!r})"))
    assert code == 0
    assert got.data == stdout == data
    assert got.end is not None
    assert got.end.newlines == data.count(b"\n")


def test_a_line_of_100_megabytes(tmp_path: Path) -> None:
    program = "import sys\nblock = b'0123456789' * 100000\nfor _ in range(100): sys.stdout.buffer.write(block)"
    got, _, _, _ = run(tmp_path, python(program), echo=False)
    assert len(got.data) == 100_000_000
    assert got.data == b"0123456789" * 10_000_000
    assert got.end is not None
    assert got.end.newlines == 0


def test_noise_that_does_not_compress_and_a_slow_reader_of_the_echo(tmp_path: Path) -> None:
    program = "import random, sys; sys.stdout.buffer.write(random.Random(5).randbytes(3_000_000))"
    task = Supervised(tmp_path, python(program))
    stdout = task.process.stdout
    assert stdout is not None
    shown = bytearray()
    while part := os.read(stdout.fileno(), 3000):
        shown += part
    assert task.finish()[0] == 0
    expected = random.Random(5).randbytes(3_000_000)
    assert shown == expected
    assert task.captured().data == expected


def test_10000_tiny_writes_a_second_arrive_in_few_records(tmp_path: Path) -> None:
    program = """
import os, time
start = time.monotonic()
for number in range(10_000):
    os.write(1 + number % 2, b"%d\\n" % number)
    ahead = number / 10_000 - (time.monotonic() - start)
    if ahead > 0.002:
        time.sleep(0.001)
"""
    got, _, _, _ = run(tmp_path, python(program), echo=False)
    assert bytes(got.streams[1]) == b"".join(b"%d\n" % number for number in range(0, 10_000, 2))
    assert bytes(got.streams[2]) == b"".join(b"%d\n" % number for number in range(1, 10_000, 2))
    assert len(got.records) < 3_000
    assert got.times_ns == sorted(got.times_ns)


def test_a_lonely_line_is_there_at_once(tmp_path: Path) -> None:
    task = Supervised(tmp_path, python("import os, time; time.sleep(0.3); os.write(1, b'x'); time.sleep(60)"))
    task.until_captured(b"x")
    task.process.send_signal(signal.SIGTERM)
    task.finish()


def test_output_of_background_processes_after_the_end(tmp_path: Path) -> None:
    got, code, _, _ = run(tmp_path, shell("(sleep 0.4; echo late; exec >&- 2>&-; sleep 60) & echo now; exit 5"))
    assert code == 5
    assert got.data == b"now\nlate\n"
    assert got.events == []


def test_background_processes_that_hold_the_output_are_waited_for_so_long(tmp_path: Path) -> None:
    began = time.monotonic()
    script = "(while :; do echo tick; sleep 0.1; done) & echo $!; exit 0"
    got, code, _, _ = run(tmp_path, shell(script), exit_wait_seconds=0.5)
    os.kill(int(got.data.split()[0]), signal.SIGKILL)
    assert code == 0
    assert time.monotonic() - began < 10
    assert got.data.count(b"tick\n") >= 3
    assert got.events == ["output_left"]


def test_closed_stdout_is_no_end(tmp_path: Path) -> None:
    got, code, _, _ = run(tmp_path, shell("echo a; exec >&- 2>&-; sleep 0.3; exit 7"))
    assert (got.data, code) == (b"a\n", 7)


def test_closed_standard_descriptors_of_the_supervisor(tmp_path: Path) -> None:
    task = Supervised(tmp_path, shell("cat; echo out; echo err >&2"), popen={"preexec_fn": lambda: os.closerange(0, 3)})
    assert task.finish()[0] == 0
    assert sorted(task.captured().data.split()) == [b"err", b"out"]


def test_a_reader_of_the_echo_that_goes_away_does_not_end_the_capture(tmp_path: Path) -> None:
    task = Supervised(tmp_path, shell("echo first; read x; seq 200000"), popen={"stdin": -1}, stdin=True)
    assert task.process.stdin is not None
    assert task.process.stdout is not None
    assert os.read(task.process.stdout.fileno(), 100) == b"first\n"
    task.process.stdout.close()
    task.process.stdout = None
    task.process.stdin.write(b"go\n")
    task.process.stdin.flush()
    code, _, _ = task.finish()
    assert code == 0
    assert task.captured().data.endswith(b"\n200000\n")


def test_standard_input_is_the_tasks(tmp_path: Path) -> None:
    with (tmp_path / "input").open("w+b") as file:
        file.write(b"typed\n")
        file.seek(0)
        task = Supervised(tmp_path, ["cat"], popen={"stdin": file})
        task.finish()
    assert task.captured().data == b"typed\n"
    got, _, _, _ = run(tmp_path / "two", ["readlink", "/proc/self/fd/0"], stdin=False)
    assert got.data == b"/dev/null\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-command-here"], 127, "not found"),
        (["/no/such/file"], 127, "not found"),
        (["/etc/passwd"], 126, "Permission denied"),
        (["/etc"], 126, "Permission denied"),
    ],
)
def test_a_command_that_can_not_be_run(tmp_path: Path, command: list[str], code: int, words: str) -> None:
    got, exit_code, _, _ = run(tmp_path, command)
    assert exit_code == code
    assert got.outcome["kind"] == 3
    assert words in got.outcome["message"]
    assert command[0] in got.outcome["message"]


def test_environment_folder_and_a_script_without_interpreter(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "greet"
    script.write_text('echo "$GREETING $PWD $1"\n')
    script.chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "GREETING": "hello"}
    got, code, _, _ = run(tmp_path, ["greet", "you"], environment=environment, cwd=str(tools))
    assert (got.data.decode(), code) == (f"hello {tools} you\n", 0)
    missing, code, _, _ = run(tmp_path / "two", ["true"], cwd=str(tmp_path / "gone"))
    assert code == 127
    assert "gone" in missing.outcome["message"]


def test_signals_and_descriptors_of_a_task_are_as_without_a_supervisor(tmp_path: Path) -> None:
    program = """
import os, signal
print([number for number in range(1, 32) if signal.getsignal(number) == signal.SIG_IGN and number not in (13, 25)])
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(int(status["SigIgn"], 16) % 2**31, int(status["SigBlk"], 16))
print(sorted(os.listdir("/proc/self/fd"))[:-1], os.getsid(0) == os.getpid())
"""
    got, _, _, _ = run(tmp_path, ["/usr/bin/env", "-i", *python(program)])
    ignored, masks, rest = got.data.decode().splitlines()
    assert ignored == "[]"
    # The task is a Python, which ignores SIGPIPE and SIGXFSZ itself.
    assert masks == f"{1 << 12 | 1 << 24} 0"
    assert rest == "['0', '1', '2'] True"


def test_masked_before_spool_and_echo_also_when_split(tmp_path: Path) -> None:
    program = (
        "import os, time\nfor part in (b'my pass', b'word-123 is', b' safe\\n'): os.write(1, part); time.sleep(0.05)"
    )
    got, _, stdout, _ = run(tmp_path, python(program), masks=["password-123"])
    assert got.data == stdout == b"my *** is safe\n"
    big = "import sys; sys.stdout.buffer.write(b'x password-123 y ' * 200_000)"
    got, _, _, _ = run(tmp_path / "two", python(big), masks=["password-123"], echo=False)
    assert got.data == b"x *** y " * 200_000


def test_masked_tail_at_the_end_of_a_stream(tmp_path: Path) -> None:
    got, _, _, _ = run(tmp_path, shell("printf passw; printf 'err passwo' >&2"), masks=["password-123"])
    assert bytes(got.streams[1]) == b"passw"
    assert bytes(got.streams[2]) == b"err passwo"


def test_a_quiet_task_costs_little(tmp_path: Path) -> None:
    """The supervisor alone, started as joblog starts it."""
    task = (
        "from joblog.worker.capture.supervisor import supervise\nfrom joblog.worker.capture.spec import TaskSpec\n"
        "from joblog.worker.spool.writer import SpoolWriter\nfrom joblog.worker.spool.bound import SpoolBounds\n"
        "from joblog.worker.spool.format import SpoolTask\n"
        "task = SpoolTask(writer_id=bytes(16), namespace='n', run='r', task='t')\n"
        f"spool = SpoolWriter({str(tmp_path / 'spool' / 'one')!r}, task, SpoolBounds(1 << 28))\n"
        f"supervise(TaskSpec(['/bin/sh', '-c', 'echo hi; cat /proc/$PPID/smaps_rollup']), spool, echo=True)\n"
    )
    program = f"import sys; sys.path += {sys.path!r}\n{task}"
    popen = __import__("subprocess").run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True)
    pss = next(line for line in popen.stdout.splitlines() if line.startswith(b"Pss:"))
    assert int(pss.split()[1]) < 12_000, pss
