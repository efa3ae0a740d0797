"""A run that is killed at any moment goes on from what it had, and ends with the same numbers."""

from __future__ import annotations

import os
import signal
import time
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ablations.comparison import CAMS, REFINEMENTS
from baselines.weclip import method as weclip
from bench.studies.method import MethodRow
from bench.studies.preset import SMOKE, VOC
from bench.tasks.counts import KeptCounts
from bench.tasks.scoring import TASKS
from bench.tasks.task import open_workbench
from tests.bench.fake import quiet
from tests.bench.tasks.test_photo import small
from tests.bench.tasks.test_photo import voc as voc  # the fixture
from weakclip.config import MICRO
from weakclip.data.formats.masks import write_mask
from weakclip.stages.maps import KeptMaps
from weakclip.training import descent
from weakclip.training.descent import WarmDescent
from weakclip.training.resume import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOMENTS = 25


def carry_out(root: Path, artifacts: Path, log: Path) -> None:
    """The run, in a process of its own; each map and mask of seeds that is written is a line."""

    def logged(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def write(first: object, second: object, *rest: object, **named: object) -> None:
            real(first, second, *rest, **named)
            what = second if name == "maps" else getattr(first, "name", "")
            with log.open("a") as file:
                file.write(f"{name} {what}\n")

        return write

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptMaps, "write", logged("maps", KeptMaps.write))
        patch.setattr("weakclip.stages.kept_seeds.write_mask", logged("seeds", write_mask))
        patch.setattr("weakclip.training.loop.Checkpoint", partial(Checkpoint, every=0.0))
        patch.setattr("bench.tasks.scoring.COUNTED", 1)
        bench = open_workbench(small(VOC), root, torch.device("cpu"), artifacts)
        outcome = bench.run(MICRO, 0, report=lambda *_: None)
    losses = np.array([row["loss"] for row in outcome.curve])
    arrays: dict[str, Any] = {**outcome.counts, "curve": losses}
    np.savez(artifacts / "part.npz", **arrays)
    (artifacts / "part.npz").replace(artifacts / "result.npz")


def start(root: Path, artifacts: Path, log: Path) -> int:
    """Fork the run; returns its process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forks are warned of where there are threads
        child = os.fork()
    if child == 0:
        try:
            carry_out(root, artifacts, log)
        finally:
            os._exit(0)
    return child


def test_killed_at_many_moments_it_repeats_nothing_and_ends_the_same(
    voc: Path, tmp_path: Path
) -> None:
    whole, parts, log = tmp_path / "whole", tmp_path / "parts", tmp_path / "log"
    whole.mkdir()
    begin = time.monotonic()
    carry_out(voc, whole, tmp_path / "other log")
    took = time.monotonic() - begin
    parts.mkdir()
    for moment in range(MOMENTS):
        child = start(voc, parts, log)
        time.sleep(took * (0.05 + moment / MOMENTS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if (parts / "result.npz").is_file():
            break
    else:
        os.waitpid(start(voc, parts, log), 0)
    with np.load(whole / "result.npz") as expected, np.load(parts / "result.npz") as found:
        for name in (*TASKS, "curve"):
            assert np.array_equal(expected[name], found[name]), name
    lines = log.read_text().split("\n")[:-1]
    assert len(lines) == len(set(lines)) > 0
    files = [KeptCounts(path, 3, 21) for path in (parts / "counts").iterdir()]
    assert all(not each.missing for each in files)


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "row",
    [
        MethodRow(cam=CAMS["cam"], refinement=REFINEMENTS["random-walk"]),
        MethodRow(cam=CAMS["clims"], refinement=REFINEMENTS["pamr"]),
        MethodRow(
            cam=CAMS["clip-es"],
            refinement=replace(
                weclip.MICRO,
                initial="given",
                recipe=WarmDescent(steps=6, batch_size=4, warmup=1),
            ),
        ),
    ],
    ids=["cam-random-walk", "clims", "weclip"],
)
def test_a_rival_that_is_stopped_in_its_training_goes_on_there(
    row: MethodRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weakclip.training.descent.Checkpoint", partial(Checkpoint, every=0.0))
    rows, write, steps = descent._Batches.rows, KeptMaps.write, [0]

    def counted(self: descent._Batches, step: int) -> list[int]:
        steps[0] += 1
        return rows(self, step)

    monkeypatch.setattr(descent._Batches, "rows", counted)
    whole = open_workbench(SMOKE, None, torch.device("cpu"), tmp_path / "whole")
    expected, needed = whole.run(row, 0, report=quiet), steps[0]

    def stopping(self: descent._Batches, step: int) -> list[int]:
        if steps[0] in {2, needed - 1} - seen:  # in the first training, and in the last one
            seen.add(steps[0])
            raise StoppedError
        return counted(self, step)

    def stopping_write(self: KeptMaps, index: int, *maps: torch.Tensor) -> None:
        if index == 2 and "maps" not in seen:
            seen.add("maps")
            raise StoppedError
        write(self, index, *maps)

    seen: set[object] = set()
    monkeypatch.setattr(descent._Batches, "rows", stopping)
    monkeypatch.setattr(KeptMaps, "write", stopping_write)
    steps[0] = 0
    while True:
        parts = open_workbench(SMOKE, None, torch.device("cpu"), tmp_path / "parts")
        try:
            found = parts.run(row, 0, report=quiet)
        except StoppedError:
            continue
        break
    assert seen == {2, needed - 1, "maps"}
    assert steps[0] == needed  # no step was done twice
    for task, counts in expected.counts.items():
        assert np.array_equal(found.counts[task], counts)
    assert found.discard is not None
    found.discard()
    assert not list((tmp_path / "parts" / "training").iterdir())
