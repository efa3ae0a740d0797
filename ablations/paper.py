"""What do the paper and its released code reach, down to the retrained network?

This reproduces the last table of the paper in one command, if its files are at hand. It uses the
maps of the preset (MCTformer's with `--set maps=mctformer`). The rows are WeakCLIP as the paper
describes it, as its release computes it, and its control without components, each followed by the
dense CRF and the same retraining, scored on `val` without tags. `full-supervision` is the upper
bound.

Source: Zhu et al., WeakCLIP, IJCV 2025; `docs/reproduction.md` lists the steps and all differences.
Run: `python -m bench run paper --preset voc --set maps=mctformer --data-root VOC2012 ...`.
Cost: 4 rows x 3 seeds. `--dry-run` estimates the hours on a GPU.
Expect: `artifacts/voc/tables/paper.md`. On preset `cartoon` it runs on micro-CLIP's own maps.
"""

from __future__ import annotations

from ablations.components import FULL
from ablations.release_vs_paper import RELEASE
from ablations.retraining import BOUND, OURS, SUPERVISED
from baselines.plain_fpn import plain_fpn
from bench.studies.method import MethodRow
from bench.studies.study import Comparisons, Study, Variant
from weakclip.config import PAPER, WeakCLIPConfig
from weakclip.config import RELEASE as RELEASE_AT_PAPER_SIZE


def _row(name: str, micro: WeakCLIPConfig, paper: WeakCLIPConfig) -> Variant:
    small, large = (
        MethodRow(cam=OURS, refinement=config, retraining=OURS) for config in (micro, paper)
    )
    return Variant(name=name, config=small, paper=large)


STUDY = Study(
    name="paper",
    question="What do the paper and its released code reach, down to the retrained network?",
    reference=_row("paper", FULL, PAPER),
    variants=(
        _row("release", RELEASE, RELEASE_AT_PAPER_SIZE),
        _row("plain-fpn", plain_fpn(FULL), plain_fpn(PAPER)),
        Variant(name=BOUND, config=SUPERVISED, paper=SUPERVISED),
    ),
    bound=BOUND,
    comparisons=(
        Comparisons(
            name="WeakCLIP against a plain FPN with its losses",
            short="plain-fpn",
            pairs=(("paper", "plain-fpn"), ("release", "plain-fpn")),
        ),
        Comparisons(name="paper against release", short="release", pairs=(("paper", "release"),)),
    ),
    notes=(
        "val-network: the network that was trained on the row's masks, the same retraining for all "
        "rows; the last step, nothing chosen on val.",
    ),
    published=("WeakCLIP",),
)
