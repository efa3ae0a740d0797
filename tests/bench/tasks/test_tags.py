"""A run with wrong tags: nothing made from right tags is used, and scoring is by the annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.tags import STUDY
from bench.studies.method import MethodRow
from bench.studies.preset import SMOKE
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet

if TYPE_CHECKING:
    from pathlib import Path

ROWS = {row.name: row for row in STUDY.rows}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    return open_workbench(SMOKE, None, torch.device("cpu"), tmp_path_factory.mktemp("artifacts"))


@pytest.mark.parametrize("method", ["maps", "cam", "weakclip"])
def test_nothing_made_from_right_tags_is_used(
    shared: ImageWorkbench, tmp_path: Path, method: str
) -> None:
    row = ROWS[f"surplus-20-{method}"]
    right = shared.run(ROWS[method].config, 0, report=quiet)
    second = shared.run(row.config, 0, report=quiet)
    fresh = ImageWorkbench(
        SMOKE, {role: images.files for role, images in shared.images.items()}, shared.clip, tmp_path
    )
    first = fresh.run(row.config, 0, report=quiet)
    for task, counts in first.counts.items():
        assert np.array_equal(counts, second.counts[task])
        assert np.array_equal(counts[..., 2], right.counts[task][..., 2])  # the annotation
    assert first.extras["train-pseudo/tags_surplus"] > 0
    assert first.extras["train-pseudo/tags_missing"] == 0
    assert right.extras == {}


def test_a_missing_tag_is_no_class_of_the_mask_and_counts_as_missed(shared: ImageWorkbench) -> None:
    row = ROWS["missing-20-maps"].config
    assert isinstance(row, MethodRow)
    assert row.tags is not None
    right, wrong = (shared.run(each, 0, report=quiet) for each in (ROWS["maps"].config, row))
    share = wrong.extras["train-pseudo/tags_missing"]
    labels = shared.images["train"].image_labels
    given = row.tags.applied(shared.images["train"].files.names, labels, labels)
    assert share == int((labels & ~given).sum()) / int(labels.sum())
    predicted = torch.from_numpy(wrong.counts["train-pseudo"][:, 1:, 1]) > 0
    assert not bool((predicted & ~given).any())
    assert np.array_equal(
        wrong.counts["train-pseudo"][..., 2], right.counts["train-pseudo"][..., 2]
    )
