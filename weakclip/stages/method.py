"""A method from images and tags to class scores: its configuration, and the code that runs it.

```
images + tags -> maps -> (seeds) -> refinement -> class scores -> finish -> masks -> (retraining)
```

Studies, searches, galleries and `weakclip masks` all use this code. None of them branches on the
method; WeakCLIP is one of the refinements.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from weakclip.crf.dense import CRFConfig, build_lattices, dense_crf
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.formats.masks import write_mask
from weakclip.description import IMPLIED, describe
from weakclip.labels import IGNORE
from weakclip.stages.images import bytes_key
from weakclip.stages.kept_seeds import KeptSeeds
from weakclip.stages.maps import MapSource, Resumable, SplitMaps, ensure_maps
from weakclip.stages.protocols import Segmenter
from weakclip.stages.refine import known_labels
from weakclip.stages.size import labels_at
from weakclip.training.memory import BatchSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from weakclip.crf.dense import Lattices
    from weakclip.progress import StageReport
    from weakclip.stages.images import Memory, WorkingImages
    from weakclip.stages.protocols import Refinement, RefinementSpec, Setting
    from weakclip.stages.retrain import RetrainedNetwork, Retraining


_BATCH = 8
"""Images whose masks are made together; fewer if memory runs out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Source of the class activation maps, their refinement, and the steps after it."""

    maps: MapSource
    refinement: RefinementSpec
    crf: CRFConfig | None = None
    """Dense CRF on the scores of the tagged classes; None: no CRF."""
    retraining: Retraining | None = field(default=None, metadata={IMPLIED: None})
    """Segmentation network trained on the masks of the training images; None: no retraining."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted method, ready to be applied to images."""

    maps: SplitMaps
    refinement: Refinement
    network: RetrainedNetwork | None = None
    """The network trained on the masks, if the method has a retraining."""

    @property
    def segmenter(self) -> Segmenter | None:
        """Labels images without tags: the retrained network, else the refinement if it can."""
        if self.network is not None:
            return self.network
        return self.refinement if isinstance(self.refinement, Segmenter) else None


def fit_method(
    method: Method,
    setting: Setting,
    data: WorkingImages,
    *,
    seed: int,
    report: StageReport,
    indices: Sequence[int] | None = None,
) -> Fitted:
    """Make the maps of a training split, fit the refinement on them, retrain if configured.

    Maps are made of `indices`, by default of all images; they include those to retrain on.

    Raises:
        ValueError: If there is nothing to train on.
    """
    maps = ensure_maps(
        method.maps, setting, data, seed=seed,
        report=partial(report, "maps"), indices=indices,
    )  # fmt: skip
    refinement = method.refinement.build(setting)
    if isinstance(refinement, Resumable) and setting.folder and setting.processes.first:
        key = content_key(
            describe(method.refinement), seed, data.key, setting.key,
            maps.origin, [maps.item_key(index) for index in data.tagged],
            code_id(type(method.refinement).__module__),
        )  # fmt: skip
        refinement.states = setting.place("training") / f"refinement-{key}"
    refinement.fit(data, maps, seed=seed, report=partial(report, "training"))
    fitted = Fitted(maps, refinement)
    if method.retraining is None:
        return fitted
    return with_network(method, fitted, setting, data, seed=seed, report=report)


def with_network(
    method: Method,
    fitted: Fitted,
    setting: Setting,
    data: WorkingImages,
    *,
    seed: int,
    report: StageReport,
) -> Fitted:
    """Train the network of a method, fitted on `data`, on the masks of its tagged training images.

    The masks are palette PNGs in the setting's folder, which is one of the network's `files`.
    Pixels for which no class has a positive score are 255.

    Raises:
        ValueError: If there is nothing to train on.
    """
    assert method.retraining is not None
    network = method.retraining.build(
        1 + len(setting.class_names), setting.device,
        folder=setting.folder, execution=setting.execution,
    )  # fmt: skip
    masks = _masks(method, fitted, setting, data, seed, report)
    network.fit(data, masks, seed=seed, report=partial(report, "retraining"))
    network.files = (*network.files, masks.folder)
    return replace(fitted, network=network)


def _masks(
    method: Method,
    fitted: Fitted,
    setting: Setting,
    data: WorkingImages,
    seed: int,
    report: StageReport,
) -> KeptSeeds:
    """The masks of the tagged images on disk; missing ones are made."""
    modules = {type(part).__module__ for part in (method.maps, method.refinement)}
    key = content_key(
        describe(replace(method, retraining=None)), seed, setting.key,
        setting.execution.arithmetic, code_id(*sorted(modules), __name__),
    )  # fmt: skip
    wanted = [index for index in data.tagged if not fitted.maps.lacks(index)]
    kept = KeptSeeds(setting.place(f"masks-{key}"), wanted, [data.keys[one] for one in wanted])
    kept.folder.mkdir(parents=True, exist_ok=True)
    missing = [index for index in wanted if kept.lacks(index)]
    found = class_scores(fitted, setting, data, missing, (method.crf,), batch=BatchSize(_BATCH))
    for done, (index, finished_scores) in enumerate(found, start=1):
        if finished_scores is not None:
            (scores,) = finished_scores
            _, height, width = scores.shape
            labels = labels_at(scores, data.image_labels[index], (height, width))
            labels[scores.amax(dim=0) <= 0] = IGNORE
            write_mask(kept.path(index), labels.numpy(), durable=False)
        report("masks", done, len(missing))
    usable = [index for index in wanted if not kept.lacks(index)]
    return KeptSeeds(kept.folder, usable, [data.keys[one] for one in usable])


def class_scores(
    fitted: Fitted,
    setting: Setting,
    data: WorkingImages,
    indices: Iterable[int],
    finishes: Sequence[CRFConfig | None],
    *,
    batch: BatchSize,
    maps: Sequence[Tensor] | SplitMaps | None = None,
) -> Iterator[tuple[int, tuple[Tensor, ...] | None]]:
    """Class scores of images; images of one size are processed together, fewer if memory runs out.

    Args:
        fitted: The method.
        setting: The one used for fitting.
        data: Images and tags of the training split, or of another split with its own maps.
        indices: Images to score.
        finishes: One result per entry: the scores after this dense CRF, or unchanged for None.
        batch: Images per batch.
        maps: One (F, h, w) per image of `data`; by default those the method was fitted on.

    Yields:
        Image index and, per finish, its scores (1 + F, h, w) on the CPU, 0 for classes that are not
        tagged; None if memory does not suffice for that image alone. The order may change.
    """
    maps = fitted.maps if maps is None else maps

    def work(group: Sequence[int]) -> list[tuple[Tensor, ...]]:
        images, labels = data.stack(group, setting.device)
        cams = torch.stack([maps[index] for index in group]).to(setting.device)
        scores = fitted.refinement.scores(images, labels, cams)
        ends = [finished(images, scores, labels, crf, setting.memory) for crf in finishes]
        return list(zip(*(end.cpu().unbind() for end in ends), strict=True))

    for group in data.groups(indices, batch.size):
        yield from batch.run(work, group)


def finished(
    images: Tensor,
    scores: Tensor,
    image_labels: Tensor,
    crf: CRFConfig | None,
    memory: Memory | None = None,
) -> Tensor:
    """Scores (B, 1 + F, H, W) after a dense CRF over the tagged classes; unchanged without a CRF.

    The lattices of the images, (B, 3, H, W), uint8, are cached if there is a memory.
    """
    if crf is None:
        return scores
    lattices: list[Lattices] | None = None
    if memory is not None:
        lattices = [
            memory.get(
                ("lattices", crf, bytes_key(image)),
                lambda image=image: build_lattices(image[None], crf),  # type: ignore[misc]
                lambda made: made.nbytes,
            )
            for image in images
        ]
    return dense_crf(images, scores, crf, present=known_labels(image_labels), lattices=lattices)
