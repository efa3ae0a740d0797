"""`nox -s gpu` on the pretended device, and what it writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from bench.speed import gpu
from bench.speed.gpu import main, markdown
from bench.speed.gpu_parts import PARTS
from tests.elsewhere import elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def made_with(command: str) -> dict[str, object]:
    return {
        "command": command, "device": "abacus", "driver": "570", "versions": {"torch": "2"},
        "commit": "c" * 40, "dirty": False, "started_utc": "2026-01-01",
    }  # fmt: skip


def measured(name: str) -> list[dict[str, Any]]:
    with elsewhere() as there:
        return PARTS[name].run(there.type, small=True)


def test_without_cuda_a_line_says_so_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--out", str(tmp_path)]) == 0
    assert "skipped: torch finds no CUDA device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_crf_is_compared_with_its_vectors_and_timed() -> None:
    vectors, timed = measured("crf")
    assert vectors["within tolerance"] == vectors["vectors"] == 3
    assert vectors["largest |dQ|"] < 2e-3
    assert timed["CPU / GPU"] == pytest.approx(timed["CPU ms"] / timed["GPU ms"])


@pytest.mark.parametrize("name", ["training", "inference"])
def test_lines_have_their_figures(name: str) -> None:
    (row,) = measured(name)
    assert row["status"] == "ok"
    assert row["images/s"] == pytest.approx(2e3 / row["p50 ms"])
    assert 0 < row["of matmul rate"] < 1
    assert ("CRF's share" in row) == (name == "training")


def test_masks_are_compared_pixel_by_pixel() -> None:
    (row,) = measured("masks")
    assert (row["images"], row["pixels"]) == (2, 2 * 64 * 64)
    assert row["pixels that differ"] < 0.01 * row["pixels"]


def test_the_study_is_planned() -> None:
    (row,) = PARTS["study"].run("cpu", small=True)
    assert row["study"] == "components"


@pytest.mark.slow
def test_the_lines_of_the_profile() -> None:
    rows = PARTS["profile"].run("cpu", small=True)
    assert {row["status"] for row in rows} == {"ok"}


def test_results_are_written_as_they_come_and_time_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []

    def run(words: Sequence[str], *, timeout: float) -> dict[str, Any]:
        name = words[-1]
        asked.append((name, timeout))
        if asked[1:]:
            assert list(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == [
                each for each, _ in asked[:-1]
            ]
        if name == "tests":
            return {"rows": [{"passed": 3}]}
        return {"status": "timed out", "error": f"no result after {timeout:g} s"}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "made_with", made_with)
    monkeypatch.setattr(gpu, "run_module", run)
    command = ["--parts", "tests", "crf", "masks", "--seconds", "50", "--out", str(tmp_path)]
    assert main(command) == 1
    assert [name for name, _ in asked] == ["tests", "crf", "masks"]
    assert [round(limit) for _, limit in asked] == [50, 50, 45]
    text = (tmp_path / "gpu.md").read_text()
    assert "`python -m bench.speed.gpu --parts tests crf masks --seconds 50` on abacus" in text
    assert "driver 570" in text
    assert "| passed |" in text
    assert "timed out: no result after " in text
    assert text == markdown(json.loads((tmp_path / "gpu.json").read_text()))


def test_no_part_begins_when_no_time_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "made_with", made_with)
    monkeypatch.setattr(gpu, "run_module", pytest.fail)
    assert main(["--seconds", "0", "--out", str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {part["error"] for part in parts.values()} == {"no time was left"}
