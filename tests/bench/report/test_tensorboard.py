from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.errors import BenchError
from bench.report.tensorboard import export, main, scalars
from tests.bench.records import RECORD

if TYPE_CHECKING:
    from pathlib import Path


def test_losses_have_their_steps_and_scores_the_last_one() -> None:
    curve = [{"step": 5.0, "loss": 2.0}, {"step": 10.0, "loss": math.nan}]
    assert scalars(replace(RECORD, curve=curve)) == [
        ("train/loss", 2.0, 5),
        ("task/miou", 0.5, 10),
        ("seconds/train", 1.5, 10),
    ]


def test_events_can_be_read_back_and_writing_twice_doubles_nothing(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        assert export([RECORD, replace(RECORD, seed=1, status="failed")], tmp_path) == 1
    read = accumulator.EventAccumulator(str(tmp_path / "fake" / "full" / "seed0")).Reload()
    (event,) = read.Scalars("task/miou")
    assert (event.value, event.step) == (0.5, 1)
    assert "config/text_summary" in read.Tags()["tensors"]
    assert not (tmp_path / "fake" / "full" / "seed1").exists()


def test_without_records_there_is_nothing_to_write(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(BenchError, match="expected records of finished runs"):
        export([], tmp_path)


def test_an_unknown_study_is_a_wrong_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["nothing", "--to", str(tmp_path)])
    assert end.value.code == 2
    assert "unknown study 'nothing'" in capsys.readouterr().err
