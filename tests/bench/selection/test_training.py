"""One training for all rules: what is kept, what each gets, and that the oracle alone looks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablations.selection import STUDY
from bench.selection.training import SIGNALS, Part, SelectedTraining, SelectedWeakCLIP, parted
from bench.stats.statistics import pooled_miou
from bench.studies.preset import SMOKE
from bench.tasks.task import ImageWorkbench, open_workbench
from tests.bench.fake import quiet

if TYPE_CHECKING:
    from bench.selection.rules import Rule
    from bench.studies.workbench import Outcome

ROWS = {row.name: row.config for row in STUDY.rows}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ImageWorkbench:
    torch.set_num_threads(1)
    return open_workbench(SMOKE, None, torch.device("cpu"), tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def outcomes(bench: ImageWorkbench) -> dict[str, Outcome]:
    return {name: bench.run(config, 0, report=quiet) for name, config in ROWS.items()}


def spec(bench: ImageWorkbench, rule: Rule) -> SelectedTraining:
    training = bench.preset.training(bench.preset.config)
    return SelectedTraining(training=training, rule=rule, crf=bench.preset.crf)


def test_all_rules_share_one_training_whose_states_are_kept(
    bench: ImageWorkbench, outcomes: dict[str, Outcome]
) -> None:
    (folder,) = (path for path in bench.artifacts.glob("trajectory-*") if path.is_dir())
    names = {path.name for path in folder.iterdir()}
    assert names == {*(f"{k}.safetensors" for k in (1, 2, 3, 4, "average")), SIGNALS}
    curves = [outcome.curve for outcome in outcomes.values()]
    assert all(curve == curves[0] for curve in curves)
    assert [row["step"] for row in curves[0] if "oracle_miou" in row] == [1, 2, 3, 4]
    assert any("loss" in row for row in curves[0])
    assert not list(bench.artifacts.glob("selection-*"))


def test_what_the_oracle_measures_is_what_the_row_scores(outcomes: dict[str, Outcome]) -> None:
    measured = [row for row in outcomes["last-step"].curve if "oracle_miou" in row]
    scores = {
        name: float(pooled_miou(outcome.counts["train-pseudo"]))
        for name, outcome in outcomes.items()
    }
    assert scores["last-step"] == pytest.approx(measured[-1]["oracle_miou"], abs=1e-6)
    best = max(row["oracle_miou"] for row in measured)
    assert scores["oracle-checkpoint"] == pytest.approx(best, abs=1e-6)
    assert all(scores[name] <= best + 1e-6 for name in scores if name != "ema")


def test_an_average_without_memory_is_the_last_state(bench: ImageWorkbench) -> None:
    data, maps = bench.images["train"], bench.fitting.clip_maps("train")
    found = []
    rules: tuple[Rule, ...] = ("last-step", "ema")
    for rule in rules:
        network = SelectedWeakCLIP(replace(spec(bench, rule), decay=0.0, states=1), bench.setting)
        network.fit(data, maps, seed=0, report=quiet)
        images, _ = data.stack([0], torch.device("cpu"))
        found.append(network.probabilities(images))
    assert torch.equal(*found)


def test_held_out_images_are_not_learnt_from(bench: ImageWorkbench) -> None:
    seeds = bench.fitting.seeds("train")
    learnt, held_out = parted(seeds, 0.25)
    assert len(held_out) == 2
    assert not set(learnt.indices) & set(held_out.indices)
    assert sorted((*learnt.indices, *held_out.indices)) == list(seeds.indices)
    assert parted(seeds, 0.25)[1].indices == held_out.indices
    assert learnt.key != held_out.key
    for part in (learnt, held_out):
        for place, index in enumerate(part.indices):
            assert torch.equal(part[place], seeds[seeds.indices.index(index)])
    with pytest.raises(ValueError, match="expected two tagged images or more, got 1"):
        parted(Part(seeds, [0]), 0.25)  # type: ignore[arg-type]


def test_the_rules_but_the_oracle_see_no_annotation(
    bench: ImageWorkbench, outcomes: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.selection.training.oracle_miou", lambda *_: 0.0)
    rules: tuple[Rule, ...] = ("held-out-seed-loss", "crf-energy")
    for rule in rules:
        network = SelectedWeakCLIP(replace(spec(bench, rule), states=4), bench.setting)
        network.fit(bench.images["train"], bench.fitting.clip_maps("train"), seed=0, report=quiet)
        scored = [row for row in network.curve if "oracle_miou" in row]
        assert {row["oracle_miou"] for row in scored} == {0.0}
        images, _ = bench.images["train"].stack([0], torch.device("cpu"))
        assert np.isfinite(network.probabilities(images).numpy()).all()
        same = [row for row in outcomes[rule].curve if "crf_energy" in row]
        keys = ("held_out_seed_loss", "crf_energy", "tag_agreement")
        for mine, theirs in zip(scored, same, strict=True):
            assert [mine[key] for key in keys] == [theirs[key] for key in keys]
