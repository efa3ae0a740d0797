"""All baselines at two sizes, for measuring their cost.

`micro` is the size in the studies on CartoonVOC, `paper` that of the publications on photographs:
ResNet-50 and ViT-B/16. Cost does not depend on the values of weights, so at paper size backbones
have random weights, and nothing has to be downloaded. What the publications freeze is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from baselines import clims, clip_es
from baselines.denseclip import DENSECLIP, DENSECLIP_MICRO
from baselines.weclip import method as weclip
from weakclip.convnet import random_walk
from weakclip.convnet.backbone import Backbone
from weakclip.convnet.classifier import CAM, MICRO_CAM, MICRO_GRAD_CAM, Classifier, GradCAM
from weakclip.convnet.random_walk import RandomWalk
from weakclip.dense_attention.methods import METHODS, MICRO
from weakclip.stages.caa import CAA
from weakclip.stages.refine import CRF, MICRO_CRF, MICRO_PAMR, PAMR
from weakclip.stages.seeds import Affinity

if TYPE_CHECKING:
    from weakclip.config import WeakCLIPConfig
    from weakclip.stages.protocols import MaskerSpec, RefinementSpec, Setting

Size = Literal["micro", "paper"]

_RANDOM = Backbone(weights=None, frozen_stages=0, batch_norm="trained")
_SENTENCE = ("a photo of a {}.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWeights:
    """A baseline with random backbone weights, and with the frozen stages of the publication."""

    spec: Any
    """A `MaskerSpec` or `RefinementSpec` that builds an object with `network.stages`."""
    frozen_stages: int
    """Number of frozen stages, counted from the stem."""

    def build(self, setting: Setting) -> Any:  # noqa: ANN401 (a masker or a refinement)
        """The baseline, not fitted."""
        method = self.spec.build(setting)
        for stage in method.network.stages.parts[: self.frozen_stages]:
            stage.requires_grad_(requires_grad=False)
        return method


def _without_affinity(spec: clip_es.ClipES) -> clip_es.ClipES:
    return replace(spec, source=replace(spec.source, affinity=None))


_CLASSIFIER = Classifier(backbone=_RANDOM)

CAMS: dict[Size, dict[str, MaskerSpec]] = {
    "micro": {
        "cam": MICRO_CAM,
        "grad-cam": MICRO_GRAD_CAM,
        "clip-es-no-caa": _without_affinity(clip_es.MICRO),
        "clip-es": clip_es.MICRO,
        "clims": clims.MICRO,
        **MICRO,
    },
    "paper": {
        "cam": RandomWeights(spec=CAM(classifier=_CLASSIFIER), frozen_stages=3),
        "grad-cam": RandomWeights(spec=GradCAM(classifier=_CLASSIFIER), frozen_stages=3),
        "clip-es-no-caa": _without_affinity(clip_es.VOC),
        "clip-es": clip_es.VOC,
        "clims": RandomWeights(
            spec=replace(clims.VOC, backbone=_RANDOM, stem="trained"), frozen_stages=1
        ),
        # One template of 80 or 85: texts are encoded once, before any image.
        **{name: replace(method, templates=_SENTENCE) for name, method in METHODS.items()},
    },
}
"""Methods from image and tags to class activation maps."""

REFINEMENTS: dict[Size, dict[str, RefinementSpec]] = {
    "micro": {
        "caa": CAA(affinity=Affinity(boxes="whole")),
        "pamr": MICRO_PAMR,
        "dense-crf": MICRO_CRF,
        "random-walk": random_walk.MICRO,
        "weclip": weclip.MICRO,
    },
    "paper": {
        "caa": CAA(),
        "pamr": PAMR(),
        "dense-crf": CRF(),
        "random-walk": RandomWeights(spec=RandomWalk(backbone=_RANDOM), frozen_stages=3),
        "weclip": weclip.VOC,
    },
}
"""Methods from image, tags and maps of any source to class scores."""

NETWORKS: dict[Size, dict[str, WeakCLIPConfig]] = {
    "micro": {"denseclip": DENSECLIP_MICRO},
    "paper": {"denseclip": DENSECLIP},
}
"""Networks that replace WeakCLIP's: from image to mask."""
