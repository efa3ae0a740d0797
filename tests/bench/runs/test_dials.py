from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ablations.conditions import DIALS, STUDY
from bench.errors import BenchError
from bench.runs.dials import dial_requests
from bench.runs.plan import Request

if TYPE_CHECKING:
    from pathlib import Path

assert STUDY.dials is not None
ROWS = len(STUDY.dials.rows)
CENTRE = STUDY.dials.preset


def whole(*variants: str, seeds: tuple[int, ...] = (0, 1)) -> Request:
    return Request(study=STUDY, variants=STUDY.select(variants), seeds=seeds, preset=CENTRE)


def test_the_centre_comes_first_and_once_and_seeds_before_positions(tmp_path: Path) -> None:
    requests, left_out = dial_requests(whole(), (), tmp_path)
    places = [(request.preset, request.variants[0].name, request.seeds) for request in requests]
    assert len(set(places)) == len(places)
    assert places[:2] == [(CENTRE, "full", (0,)), (CENTRE, "full", (1,))]
    assert [row.name for row in requests[0].variants][-1] == "score-map"
    assert all(len(request.variants) == ROWS for request in requests[2:])
    positions = sum(len(dial.positions) for dial in DIALS)
    centres = sum(not (p.changes or p.prefix) for dial in DIALS for p in dial.positions)
    assert len(requests) == 2 * (positions - centres + 1 - 2)
    assert left_out == 2 * 2 * ROWS


def test_only_some_dials_rows_and_seeds(tmp_path: Path) -> None:
    requests, _ = dial_requests(whole("full", seeds=(7,)), ("maps", "training-steps"), tmp_path)
    assert [request.variants[0].name for request in requests] == ["full"] * 3
    assert [request.seeds for request in requests] == [(7,)] * 3
    assert len({request.study.name for request in requests}) == 3
    (centre,), _ = dial_requests(whole(seeds=(7,)), ("centre",), tmp_path)
    assert centre.study.name == "conditions"
    with pytest.raises(BenchError, match="dial 'style-distanc'; did you mean 'style-distance'"):
        dial_requests(whole(), ("style-distanc",), tmp_path)


def test_a_stage_of_clip_counts_where_its_weights_are(tmp_path: Path) -> None:
    (tmp_path / "polish").mkdir()
    (tmp_path / "polish" / "micro-clip.json").touch()
    requests, left_out = dial_requests(whole(), ("clip-quality",), tmp_path)
    assert [request.preset for request in requests[2:]] == [f'{CENTRE}+clip_stage="polish"'] * 2
    assert left_out == 2 * ROWS
    assert dial_requests(whole(), ("clip-quality",), None)[1] == 2 * left_out
