from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bench.cartoon.__main__ import main
from weakclip.data.read.voc import VOCDataset

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = ("--train", "2", "--val", "1", "--tune", "0", "--size", "48")


def test_builds_the_data_set_and_the_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet = tmp_path / "cartoon", tmp_path / "img" / "sheet.png"
    assert main(["--out", str(out), "--sheet", str(sheet), *COUNTS]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["splits"] == {"train": 2, "val": 1}
    assert len(VOCDataset(out, "train")) == 2
    with Image.open(sheet) as image:
        assert image.size == (4 * (2 * 48 + 4), 6 * (48 + 4))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to do"),
        (["--out", "{}", "--size", "8"], 2, "size: expected 32 to 512 pixels, got 8"),
        (["--out", "{}", "--train", "-1"], 2, "expected 1 to 1000000 images, got -1"),
        (["--out", "{}", "--workers", "0"], 2, "workers: expected at least 1, got 0"),
        (["--out", "{}/file"], 1, "no CartoonVOC"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "file").write_text("")
    root = tmp_path if code == 1 else tmp_path / "new"
    assert main([argument.format(root) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
