"""How good are the seeds, before anything is trained?

Every training of the component study starts from the same seeds: a softmax of each patch over the
tagged classes and background words, thresholded by Otsu's method. This row scores them without
undecided pixels, so that every pixel has a label, before and after the dense CRF. The gain of a
training is the difference to this row. Nothing is random, so all seeds have the same score.

Source: none; this is the control for the component study.
Run: `nox -s ablate -- seeds`, or `python -m bench run seeds`.
Cost: seconds.
Expect: `results/tables/seeds.md`; 46.1 mIoU on CartoonVOC's training images.
"""

from __future__ import annotations

from baselines.patch_softmax import PatchSoftmaxMaps
from bench.studies.method import MethodRow
from bench.studies.study import Study, Variant
from weakclip.masking.plan import CLIP_ES_MAPS
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.refine import OTSU, Keep

STUDY = Study(
    name="seeds",
    question="How good are the seeds, before anything is trained?",
    reference=Variant(
        name="patch-softmax",
        config=MethodRow(cam=PatchSoftmaxMaps(), refinement=Keep(background=OTSU)),
        paper=MethodRow(cam=CLIPMaps(source=CLIP_ES_MAPS), refinement=Keep(background=OTSU)),
    ),
    variants=(),
)
