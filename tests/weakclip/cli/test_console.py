from __future__ import annotations

from typing import TYPE_CHECKING

from weakclip.cli import console

if TYPE_CHECKING:
    import pytest


def test_without_a_terminal_there_is_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 31.0, 32.0])
    monkeypatch.setattr("weakclip.cli.console.time.monotonic", lambda: next(clock))
    with console.phases() as report:
        for done in (5, 6, 8, 9):  # five were done before
            report("masks", done, 20)
    assert capsys.readouterr().err == "masks: 8 of 20 0.097/s 2 min 4 s left\n"


def test_a_long_training_says_so_after_its_first_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr("weakclip.cli.console.time.monotonic", lambda: next(clock))
    with console.phases() as report:
        for done in range(5):
            report("training", done, 400)
    err = capsys.readouterr().err
    assert err.startswith("training: 400 steps at 10.0 s take 1 h 6 min more; fewer: --iterations")
    assert err.count("400 steps") == 1
