"""Python started with nothing but joblog and what it depends on: no site, no start-up hooks, a third of the time.

What a task's environment says to Python (PYTHONPATH, PYTHONSTARTUP ...) is meant for the task, and does not count here.
"""

from __future__ import annotations

import os
import sys

import joblog


def isolated_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `main()` of a module and exits with what it returns; arguments are in sys.argv[1:].

    Modules are looked for in the standard library first, and not in the current folder, which belongs to the task.
    """
    assert joblog.__file__ is not None
    package_parent = os.path.dirname(os.path.dirname(os.path.abspath(joblog.__file__)))
    here = os.getcwd()
    paths = [package_parent, *(path for path in sys.path if path != here and os.path.isdir(path))]
    program = f"import sys; sys.path += {list(dict.fromkeys(paths))!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-S", "-c", program, *arguments]
