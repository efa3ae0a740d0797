from __future__ import annotations

import pytest

from weakclip.cli import check as cli_check
from weakclip.cli.main import COMMANDS, main


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for module in COMMANDS:
        name = module.__name__.removeprefix("weakclip.cli_")
        assert f"\n    {name} " in text


@pytest.mark.parametrize("arguments", [[], ["mask"], ["data"], ["data", "ade20k"]])
def test_no_or_unknown_commands_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_a_command_is_run_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "/nowhere/at all"]) == 2
    assert "weakclip check: /nowhere/at all: no such folder" in capsys.readouterr().err


def test_ctrl_c_ends_any_command_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_check, "run", stop)
    assert main(["check", "photos"]) == 130
    assert "weakclip check: interrupted" in capsys.readouterr().err
