"""What does choosing a state of the training without pixel annotation cost?

Published scores are often those of the best checkpoint, chosen on the annotation against which it
is scored. All rows of this study are checkpoints of one training per seed, which keeps ten
checkpoints at equal intervals and a moving average of the weights. Each rule chooses one:

`last-step` (used by all other studies), `ema` (the average), `held-out-seed-loss` (least seeding
loss on held-out images), `crf-energy` (least energy of the masks of held-out images in a dense CRF
with unaries from the maps), `tag-agreement` (best F1 of the classes that the network finds in
held-out images, against their tags), and `oracle-checkpoint` (best mIoU of the masks of the
training images; an oracle, because it uses the annotation).

All rows hold out a tenth of the tagged images from training, so scores are lower than in other
studies.

Source: none; publications seldom say how a checkpoint was chosen.
Run: `nox -s ablate -- selection`, or `python -m bench run selection`.
Cost: 6 rows x 3 seeds from 3 trainings; an estimated 15 minutes on two CPU cores with preset
`cartoon`, not measured yet.
Expect: `results/tables/selection.md`, `docs/selection.md`.
"""

from __future__ import annotations

from bench.selection.rules import RULES
from bench.studies.method import MethodRow, Selection
from bench.studies.study import Comparisons, Study, Variant
from weakclip.config import MICRO, PAPER
from weakclip.masking.plan import CLIP_ES_MAPS
from weakclip.stages.maps import CLIPMaps

NAMES = {rule: "oracle-checkpoint" if rule == "oracle" else rule for rule in RULES}
HONEST = tuple(name for rule, name in NAMES.items() if rule != "oracle")
ORACLE, LAST = NAMES["oracle"], NAMES["last-step"]

ROWS = tuple(
    Variant(
        name=name,
        config=MethodRow(cam=CLIPMaps(), refinement=Selection(config=MICRO, rule=rule)),
        paper=MethodRow(
            cam=CLIPMaps(source=CLIP_ES_MAPS), refinement=Selection(config=PAPER, rule=rule)
        ),
    )
    for rule, name in NAMES.items()
)

STUDY = Study(
    name="selection",
    question="What does choosing a state of the training without pixel annotation cost?",
    reference=ROWS[0],
    variants=ROWS[1:],
    comparisons=(
        Comparisons(
            name="rule against the last step",
            short="last step",
            pairs=tuple((row.name, LAST) for row in ROWS[1:]),
        ),
        Comparisons(
            name="oracle against a rule without annotation",
            short="rule",
            pairs=tuple((ORACLE, name) for name in HONEST if name != LAST),
        ),
    ),
    notes=(
        "All rows of a seed are states of one training with a tenth of the tagged images held out; "
        "`oracle-checkpoint` is chosen on the annotation of the training images.",
    ),
)
