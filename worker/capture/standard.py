"""Standard input, output and error of a process that was started without them."""

from __future__ import annotations

import os


def open_standard_descriptors() -> None:
    """Opens on /dev/null what is closed of 0, 1 and 2, before something else gets that number."""
    while True:
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if fd > 2:
            os.close(fd)
            return
        os.set_inheritable(fd, True)
