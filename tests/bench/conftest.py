from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import cli, report, task
from tests.bench import fake

if TYPE_CHECKING:
    from pathlib import Path

    from bench.figure_set import Drawing


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in; the only study is the fake one, on fake data."""

    def draw(drawing: Drawing, _: str) -> bytes:
        return drawing.mark.encode()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "draw", draw)  # the real one: test_figure.py, test_report.py
    monkeypatch.setattr(cli, "load_study", fake.load)
    monkeypatch.setattr(cli, "code_id", lambda: "code")
    monkeypatch.setattr(cli, "known_studies", lambda: (fake.STUDY.name,))
    monkeypatch.setattr(task, "prepare", fake.prepare)
    return tmp_path
