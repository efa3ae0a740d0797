"""What the README tells people to type works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weakclip.cli.main import COMMANDS

README = Path("README.md").read_text()


def test_the_five_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # The same lines with the embedded CLIP and without training, so that they take a second.
    block = block.replace("ViT-B-16/openai", "micro").replace('"weakclip"', '"clip-es"')
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / "photos" / name)
    (tmp_path / "labels.csv").write_text("file,labels\na.jpg,cat\nb.jpg,dog;sofa\n")
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out.strip() == "2 ()"
    assert len(list((tmp_path / "masks" / "masks").glob("*.png"))) == 2


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s ([a-z]+)", README))))
def test_every_session_that_is_named_exists(session: str) -> None:
    assert f"\ndef {session}(session: nox.Session)" in Path("noxfile.py").read_text()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`?weakclip ([a-z]+) ", README))))
def test_every_command_that_is_named_exists(command: str) -> None:
    assert command in {module.__name__.removeprefix("weakclip.cli_") for module in COMMANDS}
