"""What is a pseudo mask worth to the network that is trained on it?

Every method of `comparison` makes masks of the training images (after the dense CRF). A standard
segmentation network is trained on them and scored on `val` without tags. All rows have the same
retraining, that of the preset. Some rows are points of comparison. `full-supervision` trains on the
annotated masks: the upper bound; the table gives all scores as a percentage of it. `seeds-only`
trains on the seeds of the reference's maps without a CRF, and ignores their undecided pixels. The
rows of `plain-fpn` are WeakCLIP's training without its four components.

Source: protocols of the last stage: `weakclip/stages/retrain_presets.py`, `docs/retraining.md`.
Run: `nox -s ablate -- retraining`, or `python -m bench run retraining`.
Cost: 34 rows x 3 seeds; on two CPU cores two minutes per run more than in `comparison`.
Expect: `results/tables/retraining.md`, once the study is run; nothing is claimed before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ablations import comparison
from ablations._settings import REFERENCE
from bench.studies.method import GroundTruth, MethodRow, OfPreset
from bench.studies.study import Comparisons, Study, Variant
from weakclip.stages.refine import SeedLabels

if TYPE_CHECKING:
    from bench.studies.workbench import Config

OURS = OfPreset()
SEEDS, BOUND = "seeds-only", "full-supervision"
METHODS = {row.name: row for row in comparison.STUDY.rows}


def _retrained(row: Variant) -> Variant:
    """A row of `comparison` with the preset's retraining."""
    return Variant(name=row.name, config=_with(row.config), paper=row.paper and _with(row.paper))


def _with(config: Config) -> MethodRow:
    assert isinstance(config, MethodRow)
    return replace(config, retraining=OURS)


def _seeds() -> Variant:
    """The row that trains on the seeds of the reference's maps."""
    row = _retrained(METHODS["-".join(REFERENCE)])
    configs = [
        replace(config, refinement=SeedLabels(), finish="none")
        for config in (row.config, row.paper)
        if isinstance(config, MethodRow)
    ]
    return Variant(name=SEEDS, config=configs[0], paper=configs[-1])


SUPERVISED = MethodRow(cam=GroundTruth(), refinement=GroundTruth(), retraining=OURS, finish="none")

STUDY = Study(
    name="retraining",
    question="What is a pseudo mask worth to the network that is trained on it?",
    reference=_retrained(METHODS["-".join(REFERENCE)]),
    variants=(
        Variant(name=BOUND, config=SUPERVISED, paper=SUPERVISED),
        _seeds(),
        *(_retrained(row) for name, row in METHODS.items() if name != "-".join(REFERENCE)),
    ),
    bound=BOUND,
    comparisons=(
        comparison.AGAINST_ALONE,
        comparison.AGAINST_CONTROL,
        Comparisons(
            name="masks against the seeds alone",
            short="seeds alone",
            pairs=tuple(
                (f"{cam}-{each}", SEEDS) for cam, each in comparison.CELLS if cam == REFERENCE[0]
            ),
        ),
    ),
    notes=(
        "val-network: the network that was trained on the row's masks, the same retraining for all "
        "rows; the last step, nothing chosen on val.",
        f"`{BOUND}`: trained on the annotated masks of the training images, which no "
        "weakly-supervised method has: the upper bound.",
        f"`{SEEDS}`: trained on the seeds of the reference's maps, without their undecided pixels.",
    ),
    published=("WeakCLIP", "CLIP-ES", "CLIMS", "AffinityNet", "IRN CAM"),
)
