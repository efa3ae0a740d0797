from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ablations.components import STUDY as COMPONENTS
from ablations.seeds import STUDY as START
from bench.report.build import Report, render
from bench.report.figures import set as figures
from bench.report.gain import Gain, control, gain, sentences
from bench.report.sentences.findings import findings
from bench.runs.store import Store
from bench.studies.study import load_study
from tests.bench.report import gain_records

if TYPE_CHECKING:
    from pathlib import Path

SCORES = {"patch-softmax": 0.5, "baseline": 0.7, "full": 0.71, "no-text-guidance": 0.7}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Report], Gain]:
    store = Store(tmp_path_factory.mktemp("results"))
    gain_records.write(store, SCORES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda drawing, _: drawing.mark.encode())
        reports = [render(study, store) for study in (COMPONENTS, START)]
    steps = gain(reports, store)
    assert steps is not None
    return store, reports, steps


def test_each_step_is_the_difference_of_the_pooled_scores(
    found: tuple[Store, list[Report], Gain],
) -> None:
    store, _, steps = found

    def score(study: str, variant: str, task: str) -> float:
        """MIoU by hand: with equal totals, IoU is right / (200 - right) of the pooled pixels."""
        scores = []
        for record in store.read_all(study, [variant]):
            right, one, two = store.counts(record)[task].sum(axis=0).T
            scores.append(float(np.mean(right / (one + two - right))))
        return float(np.mean(scores))

    crf = "train-pseudo-crf"
    seeds, plain, full, refined = (
        score("seeds", "patch-softmax", "train-pseudo"),
        score("components", "baseline", "train-pseudo"),
        score("components", "full", "train-pseudo"),
        score("components", "full", crf),
    )
    expected = [plain - seeds, full - plain, refined - full]
    expected += [score("seeds", "patch-softmax", crf) - seeds]
    measured = [step.difference for step in (*steps.path[1:], steps.refined[0])]
    assert [value.estimate for value in measured if value] == pytest.approx(expected)
    assert [step.miou for step in steps.path] == pytest.approx([seeds, plain, full, refined])
    assert all(value.low < value.estimate < value.high for value in measured if value)


def test_the_step_of_the_components_is_that_of_the_table(
    found: tuple[Store, list[Report], Gain],
) -> None:
    _, (components, _), steps = found
    effect = next(
        effect
        for effect in components.found
        if {effect.contrast.variant, effect.contrast.baseline} == {"full", "baseline"}
        and (effect.task, effect.metric) == ("train-pseudo", "miou")
    )
    step = steps.path[2].difference
    assert step is not None
    assert abs(step.estimate) == abs(effect.difference.estimate)
    assert step.high - step.low == pytest.approx(effect.difference.high - effect.difference.low)
    assert step.low < step.estimate < step.high


def test_the_first_sentence_credits_the_control(found: tuple[Store, list[Report], Gain]) -> None:
    first, second, third = sentences(found[2])
    share = 100 * (found[2].path[1].miou - found[2].path[0].miou)
    assert first.startswith("A plain FPN")
    assert f"+{share:.1f} [" in first
    assert "four components together add +" in second
    assert "on the seeds alone it adds +" in third


def test_the_control_is_the_row_with_everything_off() -> None:
    assert control(COMPONENTS) == "baseline"
    assert control(load_study("sensitivity")) == ""


def test_without_the_seeds_there_are_no_steps(found: tuple[Store, list[Report], Gain]) -> None:
    store, reports, _ = found
    assert gain(reports[:1], store) is None
    assert gain(reports[1:], store) is None


@pytest.mark.usefixtures("quick_draw")
def test_records_of_other_conditions_are_not_compared(
    found: tuple[Store, list[Report], Gain], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    gain_records.write(store, SCORES, preset="smoke")
    assert gain([render(COMPONENTS, store), found[1][1]], store) is None


def test_a_study_that_compares_nothing_says_its_scores(
    found: tuple[Store, list[Report], Gain],
) -> None:
    (said,) = findings(found[1][1].records, found[1][1].found)
    assert said == "mIoU of patch-softmax: 33.4 % on train-pseudo, 38.0 % on train-pseudo-crf."


def test_findings_are_sentences_about_every_main_task(
    found: tuple[Store, list[Report], Gain],
) -> None:
    said = " ".join(findings(found[1][0].records, found[1][0].found))
    assert "train-pseudo" in said
    assert "val-network" in said
    assert "no measurable effect" not in said
