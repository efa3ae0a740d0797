from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.conditions import BESIDE, COMPARED, DIALS, RATES, ROWS, STUDY
from bench.cartoon.caption import tokenizer
from bench.cartoon.pretraining.pool import CONTEXT
from bench.cli import main
from bench.runs.store import Store
from bench.search.rates import FACTORS
from bench.studies.dial import Dial, Position
from bench.studies.method import MethodRow, OfPreset, Spoiled
from bench.studies.preset import CONDITIONS, load_preset
from bench.studies.slots import differing_slots
from weakclip.config import LearningRates, WeakCLIPConfig
from weakclip.data.read.voc import VOC_CLASSES

TINY = (
    "clip=random-micro", "recipe.iterations=2", "recipe.batch_size=4", "recipe.warmup=1",
    'generated.images={"train":4,"val":4,"tune":2}',
)  # fmt: skip


def network(name: str) -> WeakCLIPConfig:
    """What is trained in a row."""
    (row,) = STUDY.select((name,))
    assert isinstance(row.config, MethodRow)
    part = row.config.refinement
    config = part.config if isinstance(part, Spoiled) else part
    assert isinstance(config, WeakCLIPConfig)
    return config


@pytest.mark.parametrize("dial", DIALS, ids=lambda dial: dial.name)
def test_every_dial_moves_away_from_at_most_one_centre(dial: Dial) -> None:
    centres = [each for each in dial.positions if not each.changes and not each.prefix]
    assert len(centres) == (0 if dial.name.startswith("seed-precision") else 1)
    assert dial.gains in COMPARED
    for position in dial.positions:
        preset = load_preset(position.preset(CONDITIONS.name))
        moved = replace(preset, name=CONDITIONS.name) != CONDITIONS
        assert moved == bool(position.changes)
        assert not (position.changes and position.prefix)
        for name in VOC_CLASSES:
            for phrase in preset.words.phrases(name):
                assert tokenizer(CONTEXT).knows(phrase)


def test_there_are_the_rows_of_the_registration_and_its_seeds() -> None:
    assert [row.name for row in STUDY.rows][: len(ROWS)] == list(ROWS)
    assert len(STUDY.seeds) >= 5
    slots = {name: differing_slots(network(name), network("full")) for name in COMPARED}
    assert {name: set(found) - {"rates"} for name, found in slots.items()} == {
        "full": set(),
        "plain-fpn": {"prompt", "matching", "adapter", "decoder"},
        "no-prompts": {"prompt"},
        "no-matching": {"matching"},
        "no-adapter": {"adapter"},
        "no-text-guidance": {"decoder"},
    }
    assert network(BESIDE).prompt == network("full").prompt


def test_the_rows_of_a_position_are_the_same_networks_on_other_seeds() -> None:
    assert STUDY.dials is not None
    for position in (each for dial in DIALS for each in dial.positions if each.prefix):
        for name, moved in zip(COMPARED, STUDY.dials.rows_at(position), strict=True):
            assert network(moved) == network(name)
            (row,) = STUDY.select((moved,))
            assert isinstance(row.config, MethodRow)
            assert not isinstance(row.config.cam, OfPreset) or isinstance(
                row.config.refinement, Spoiled
            )


def test_the_dial_of_untrained_classes_scores_those_alone() -> None:
    (dial,) = (each for each in DIALS if each.name == "untrained-classes")
    assert dial.tasks == ("val-network",)
    scored = [each.classes for each in dial.positions]
    assert [len(classes) for classes in scored] == [6, 3, 6]
    for position in dial.positions[1:]:
        drawn = load_preset(position.preset(CONDITIONS.name)).generated
        assert drawn is not None
        assert getattr(drawn.world, "untrained", ()) == position.classes


def test_validation_is_as_large_as_registered() -> None:
    assert CONDITIONS.generated is not None
    assert CONDITIONS.generated.images == {"train": 600, "val": 1500, "tune": 400}


def test_the_preset_names_the_commit_of_the_registration() -> None:
    page = Path(__file__).parents[2] / "docs" / "preregistration.md"
    assert CONDITIONS.registered[:8] in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("labels", "towards"),
    [(("a", "b"), "last"), (("a", "b", "b"), "last"), (("a", "b", "c"), "up")],
)
def test_a_dial_without_three_positions_or_a_direction_is_refused(
    labels: tuple[str, ...], towards: str
) -> None:
    positions = tuple(Position(label=label) for label in labels)
    with pytest.raises(ValueError, match="dial x:"):
        Dial(name="x", positions=positions, gains="full", towards=towards)


@pytest.mark.slow
def test_one_command_makes_the_records_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, artifacts = tmp_path / "results", tmp_path / "artifacts"
    words = (
        "run", "conditions", "--out", str(out), "--artifacts", str(artifacts), "--workers", "1",
        "--variants", "full", "plain-fpn", "no-prompts", "--seeds", "0",
    )  # fmt: skip

    def run(*more: str) -> dict[str, object]:
        assert main([*words, *more, "--set", *TINY]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    assert run("--only-dials", "centre")["runs"] == 3
    (centre,) = Store(out).studies()
    assert run("--only-dials", "style-distance")["runs"] == 6
    assert run("--only-dials", "style-distance", "--dry-run")["to_run"] == 0
    assert len(Store(out).studies()) == 3
    assert len(Store(out).read_all(centre, ["full", "plain-fpn", "no-prompts"])) == 3
    assert not [path for path in artifacts.iterdir() if path.name.startswith("redrawn")]


def test_the_rates_are_those_of_the_search() -> None:
    table = Path(__file__).parents[2] / "results" / "tables" / "rates.csv"
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    assert {
        row["row"]: LearningRates(**{part: float(row[part]) for part in FACTORS})
        for row in csv.DictReader(lines)
        if row["chosen"] == "yes"
    } == RATES
