"""An interrupt ends the command quietly, wherever in a library it arrives."""

from __future__ import annotations

import threading

import pytest

from joblog.cli import app, main


def test_an_error_on_the_way_out_of_an_interrupt_is_the_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_arguments: list[str]) -> int:
        # What gRPC does where the interrupt comes while it takes its lock again after a wait.
        condition = threading.Condition()
        with condition:
            condition.release()
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "run_app", interrupted)
    assert main.main(["logs", "r/t"]) == main.INTERRUPTED_EXIT_CODE


def test_any_other_error_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_arguments: list[str]) -> int:
        try:
            raise KeyError("x")
        finally:
            raise ValueError("y")

    monkeypatch.setattr(app, "run_app", broken)
    with pytest.raises(ValueError, match="y"):
        main.main(["logs", "r/t"])
