from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import commands, listing
from bench.report.figures import set as figures
from bench.tasks import task
from tests.bench import fake

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.figures.set import Drawing


@pytest.fixture
def quick_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are their mark and nothing else; the real ones: test_figure.py, test_report.py."""

    def draw(drawing: Drawing, _: str) -> bytes:
        return drawing.mark.encode()

    monkeypatch.setattr(figures, "draw", draw)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_draw: None) -> Path:
    """An empty folder to run commands in; the only study is the fake one, on fake data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "load_study", fake.load)
    monkeypatch.setattr(commands, "code_id", lambda: "code")
    for module in (commands, listing):
        monkeypatch.setattr(module, "known_studies", lambda: (fake.STUDY.name,))
    monkeypatch.setattr(listing, "question", lambda _: fake.STUDY.question)
    monkeypatch.setattr(task, "prepare", fake.prepare)
    return tmp_path
