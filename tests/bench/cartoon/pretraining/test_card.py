from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.cartoon.pretraining import card
from weakclip.clip.micro import ASSETS

if TYPE_CHECKING:
    from pathlib import Path


def test_the_card_in_the_repository_is_what_the_files_say() -> None:
    assert card.render() == (ASSETS / "README.md").read_text()


def test_gates_of_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.loads(card.GATES.read_text())
    report["clip"]["sha256"] = "0" * 64
    other = tmp_path / "gates.json"
    other.write_text(json.dumps(report))
    monkeypatch.setattr(card, "GATES", other)
    with pytest.raises(SystemExit, match="measured on other weights"):
        card.render()
