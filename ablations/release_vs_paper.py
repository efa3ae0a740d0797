"""Do the release's departures from the paper change the result?

The released code, hustvl/WeakCLIP, differs from the paper in six points (`docs/method.md`). Two of
them have rows in this study:

1. Co-attention feeds every layer the original input, so that only the last layer has an effect.
2. The pyramid adapter is never trained (its learning-rate factor is 0).

The release also adds the class embedding twice at the class-token position. The paper does not
mention this, so it has a row too; `release` has all three.

The others have no rows:

3. Drop path stays active in the frozen image tower. Here the features of the tower are computed
   once and shared (`weakclip/training/bank.py`); drop path would change them in every step.
   `weakclip.config.RELEASE` has it, for training on images.
4. The frozen towers compute weight gradients that are multiplied by 0: the same update, slower.
5. A kNN matrix per image is computed and not used, and the CRF runs image by image on the CPU: the
   same update, slower (`results/perf/` has the cost).
6. Predictions are cached by file name and reused by another model: an error of the evaluation. Here
   cached files are named by a hash of everything they depend on.

Source: Zhu et al., WeakCLIP, IJCV 2025, and github.com/hustvl/WeakCLIP.
Run: `nox -s ablate -- release-vs-paper`, or `python -m bench run release-vs-paper`.
Cost: 5 configurations x 3 seeds, one of them the component study's; ten minutes on two CPU cores.
Expect: `results/tables/release-vs-paper.md`.
"""

from __future__ import annotations

from dataclasses import replace

from ablations.components import FULL
from bench.studies.study import Study, Variant
from weakclip.config import CoAttention, PyramidAdapter

assert isinstance(FULL.matching, CoAttention)
STACKING = replace(FULL.matching, stacking="last")
FROZEN = PyramidAdapter(training="frozen")
RELEASE = replace(FULL, matching=STACKING, adapter=FROZEN, class_token="release")

STUDY = Study(
    name="release-vs-paper",
    question="Do the release's departures from the paper change the result?",
    reference=Variant(name="paper", config=FULL),
    variants=(
        Variant(name="last-layer-only", config=replace(FULL, matching=STACKING)),
        Variant(name="frozen-adapter", config=replace(FULL, adapter=FROZEN)),
        Variant(name="doubled-class-token", config=replace(FULL, class_token="release")),
        Variant(name="release", config=RELEASE),
    ),
)
