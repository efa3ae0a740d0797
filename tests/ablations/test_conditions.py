from __future__ import annotations

import pytest

from ablations._conditions import CENTRE, DIALS, ROWS, STUDY
from bench.cartoon.wide.caption import web_tokenizer
from bench.cartoon.wide.pool import CONTEXT
from bench.studies.dial import Dial, Position
from bench.studies.preset import WIDE, load_preset
from weakclip.data.read.voc import VOC_CLASSES


@pytest.mark.parametrize("dial", DIALS, ids=lambda dial: dial.name)
def test_every_dial_moves_away_from_at_most_one_centre(dial: Dial) -> None:
    centres = [each for each in dial.positions if each.preset == CENTRE and not each.rows]
    assert len(centres) == (0 if "precision" in dial.name else 1)
    assert dial.gains in ROWS
    for position in dial.positions:
        preset = load_preset(position.preset)
        moved = preset != load_preset(CENTRE)
        assert moved or position.rows or position in centres
        assert [name for name, _ in position.rows] in ([], list(ROWS))
        for name in VOC_CLASSES:
            for phrase in preset.words.phrases(name):
                assert web_tokenizer(CONTEXT).knows(phrase)


def test_a_study_has_the_rows_of_the_registration_and_its_seeds() -> None:
    assert [row.name for row in STUDY.rows] == list(ROWS)
    assert len(STUDY.seeds) >= 5
    assert STUDY.comparisons[0].pairs == (("full", "plain-fpn"),)


def test_validation_is_as_large_as_registered() -> None:
    assert WIDE.generated is not None
    assert WIDE.generated.images == {"train": 600, "val": 1500, "tune": 400}


@pytest.mark.parametrize(
    ("labels", "towards"),
    [(("a", "b"), "last"), (("a", "b", "b"), "last"), (("a", "b", "c"), "up")],
)
def test_a_dial_without_three_positions_or_a_direction_is_refused(
    labels: tuple[str, ...], towards: str
) -> None:
    positions = tuple(Position(label=label, preset=CENTRE) for label in labels)
    with pytest.raises(ValueError, match="dial x:"):
        Dial(name="x", positions=positions, gains="full", towards=towards)
