"""All benchmarks, one after another, and the report: python -m bench [--quick] [NAME ...]."""

from __future__ import annotations

import subprocess
import sys

from bench.report import main as write_report
from bench.results import NAMES


def main() -> int:
    """Runs them; a failed one does not keep the others from running, but makes the exit code 1."""
    quick = [argument for argument in sys.argv[1:] if argument == "--quick"]
    names = [argument for argument in sys.argv[1:] if argument not in quick]
    if unknown := set(names) - set(NAMES):
        print(f"there is no benchmark {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or NAMES:
        print(f"== {name}", flush=True)
        # Each in a process of its own: what one leaves in memory is not the next one's.
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *quick], check=False).returncode:
            failed.append(name)
    if not quick:
        write_report()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
