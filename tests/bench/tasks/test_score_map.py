from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from baselines.plain_fpn import PLAIN_FPN_MICRO
from bench.studies.preset import SMOKE
from bench.tasks.score_map import AFTER, BEFORE, score_map_miou
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet
from weakclip.config import MICRO, ScoreMapDecoder
from weakclip.ops.confusion import class_counts, miou

if TYPE_CHECKING:
    from pathlib import Path

    from bench.studies.workbench import Outcome
    from weakclip.config import WeakCLIPConfig

PRESET = replace(SMOKE, scoring="components", recipe=replace(SMOKE.recipe, learning_rate=0.1))


@pytest.fixture(scope="module")
def bench(artifacts: Path) -> ImageWorkbench:
    return open_workbench(PRESET, None, torch.device("cpu"), artifacts)


def run(bench: ImageWorkbench, config: WeakCLIPConfig) -> Outcome:
    return bench.run(config, 0, report=quiet)


def test_nothing_but_counts_contours_and_score_maps_is_measured(bench: ImageWorkbench) -> None:
    outcome = run(bench, MICRO)
    assert tuple(outcome.counts) == tuple(outcome.boundary) == bench.tasks
    assert bench.tasks == ("train-pseudo", "val-network")
    assert not outcome.confusion
    assert not outcome.cells
    assert set(outcome.extras) == {f"{task}/{name}" for task in bench.tasks
                                   for name in (BEFORE, AFTER)}  # fmt: skip


def test_the_counts_are_those_of_the_full_scoring(bench: ImageWorkbench, artifacts: Path) -> None:
    full = open_workbench(
        replace(PRESET, scoring="full"), None, torch.device("cpu"), artifacts / "full"
    )
    two = run(full, MICRO)
    assert not two.extras
    assert "score_map" not in full.protocol
    for task, counts in run(bench, MICRO).counts.items():
        assert (counts == two.counts[task]).all()


def test_training_moves_the_score_map_of_prompts_and_not_of_the_control(
    bench: ImageWorkbench,
) -> None:
    learnt, fixed = run(bench, MICRO).extras, run(bench, PLAIN_FPN_MICRO).extras
    for task in bench.tasks:
        assert learnt[f"{task}/{AFTER}"] != learnt[f"{task}/{BEFORE}"]
        assert fixed[f"{task}/{AFTER}"] == fixed[f"{task}/{BEFORE}"]


def test_a_network_without_decoder_predicts_its_score_map(bench: ImageWorkbench) -> None:
    outcome = run(bench, replace(MICRO, decoder=ScoreMapDecoder()))
    for task, counts in outcome.counts.items():
        alone = float(miou(torch.from_numpy(counts.sum(axis=0))))
        assert outcome.extras[f"{task}/{AFTER}"] == pytest.approx(alone, abs=0.01)


def test_the_largest_cosine_wins_among_the_tags(bench: ImageWorkbench) -> None:
    data, seconds = bench.images["val"], dict[str, float]()
    network = bench.fitting.method(MICRO, 0, seconds, quiet).refinement
    truth = bench.scoring.truth("val", range(len(data)))
    images, tags = data.stack(range(len(data)), torch.device("cpu"))
    maps = network.score_maps(images)  # type: ignore[attr-defined]
    large = torch.nn.functional.interpolate(maps, truth[0].shape, mode="bilinear")
    for tags_used in (False, True):
        if tags_used:
            large[:, 1:].masked_fill_(~tags[:, :, None, None], -2)
        counts = class_counts(large.argmax(dim=1), torch.stack(truth), large.shape[1])
        (found,) = score_map_miou(
            {"it": network},  # type: ignore[dict-item]
            data, lambda group: bench.scoring.truth("val", group), batch=50,
            tags_used=tags_used,
        ).values()  # fmt: skip
        assert found == pytest.approx(float(miou(counts.sum(dim=0))))
