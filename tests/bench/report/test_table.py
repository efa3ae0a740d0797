"""The frame people analyse is the table that is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.errors import BenchError
from bench.report.build import render
from bench.report.table import COLUMNS, csv_text, study_frame
from bench.runs.store import Store
from tests.bench.fake import STUDY, make_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("quick_draw")
def test_the_frame_of_a_study_is_its_csv(tmp_path: Path) -> None:
    make_records(Store(tmp_path), seeds=(0, 1))
    frame = study_frame(STUDY, tmp_path)
    assert csv_text(frame).encode() == render(STUDY, Store(tmp_path)).files["tables/fake.csv"]
    assert frame["value"].dtype == float


def test_a_study_is_known_by_name_and_may_have_no_records(tmp_path: Path) -> None:
    frame = study_frame("components", tmp_path)
    assert (tuple(frame.columns), len(frame)) == (COLUMNS, 0)
    with pytest.raises(BenchError, match="unknown study 'componets'; did you mean 'components'"):
        study_frame("componets", tmp_path)
