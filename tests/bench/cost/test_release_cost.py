from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from bench.cost import release_cost
from bench.cost.release_cost import (
    ReleaseStep,
    difference,
    encode_with_gradients,
    main,
    unused_distances,
)
from bench.cost.subject import LibraryStep, make_subject, random_batch
from bench.errors import BenchError
from weakclip.config import MICRO, CrossEntropy

if TYPE_CHECKING:
    from pathlib import Path


def test_both_steps_agree_and_only_one_asks_the_towers_for_gradients() -> None:
    subject = make_subject(MICRO, "micro")
    release, ours = ReleaseStep(subject), LibraryStep(subject)
    before = release.model.image_tower.vision.proj.detach().clone()
    found = difference(ours, release, random_batch("micro", 3))
    assert max(found.values()) < 1e-4
    towers = [*release.model.image_tower.parameters(), *release.model.text_tower.parameters()]
    assert sum(weight.grad is not None for weight in towers) > 0.9 * len(towers)
    assert all(weight.grad is None for weight in subject.model.image_tower.parameters())
    assert all(weight.grad is None for weight in subject.model.text_tower.parameters())
    torch.testing.assert_close(release.model.image_tower.vision.proj, before, rtol=0, atol=0)


def test_steps_on_different_weights_are_told_apart() -> None:
    subject = make_subject(MICRO, "micro")
    release, ours = ReleaseStep(subject), LibraryStep(subject)
    with torch.no_grad():
        subject.model.trainable_parameters()[-2].mul_(1.1)  # the classifier
    with pytest.raises(BenchError, match="expected equal steps"):
        difference(ours, release, random_batch("micro", 2))


def test_features_with_a_graph_are_the_features() -> None:
    tower = make_subject(MICRO, "micro").model.image_tower
    images = random_batch("micro", 2).images
    mine, theirs = tower(images), encode_with_gradients(tower, images)
    for tap, other in zip(mine.taps, theirs.taps, strict=True):
        torch.testing.assert_close(tap, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mine.dense_embedding, theirs.dense_embedding, rtol=1e-4, atol=1e-4)


def test_the_unused_matrix_has_a_row_for_every_cell() -> None:
    (matrix,) = unused_distances(torch.randn(1, 3, 8, 8))
    assert matrix.shape == (64, 64)
    assert float(matrix.diagonal().abs().max()) < 1e-3


def test_refuses_another_supervision() -> None:
    subject = make_subject(replace(MICRO, supervision=CrossEntropy()), "micro")
    with pytest.raises(BenchError, match="got CrossEntropy"):
        ReleaseStep(subject)


def test_the_command_writes_the_ratio_of_its_times(tmp_path: Path) -> None:
    command = ["--size", "micro", "--batch", "1", "--rounds", "1", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "release_cost-micro-cpu.json").read_text())
    assert record["ratio"] == pytest.approx(record["release"][0] / record["ours"][0])


def test_nothing_is_written_when_the_steps_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_cost, "TOLERANCE", -1.0)
    command = ["--size", "micro", "--batch", "1", "--rounds", "1", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
