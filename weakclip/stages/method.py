"""One way from images and tags to class scores: a method is a value, and this is what runs it.

```
images + tags -> maps -> (seeds) -> refinement -> class scores -> finish -> masks -> (retraining)
```

Every driver walks this way: studies on any data set, searches, galleries, `weakclip masks`. None
has a branch about a method; WeakCLIP is one of the refinements.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from weakclip.crf.dense import Lattices
    from weakclip.stages.images import Memory, WorkingImages
    from weakclip.stages.protocols import Refinement, RefinementSpec, Setting
    from weakclip.stages.retrain import RetrainedNetwork, Retraining


_BATCH = 8
"""Images whose masks are made together, unless memory holds fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Whose class activation maps, what is made of them, and how scores are finished."""

    maps: MapSource
    refinement: RefinementSpec
    crf: CRFConfig | None = None
    """Dense CRF on the scores of the tagged classes; absent: the scores as they are."""
    retraining: Retraining | None = field(default=None, metadata={IMPLIED: None})
    """A segmentation network trained on the masks of the training images; absent: none."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted method, ready for images."""

    maps: SplitMaps
    refinement: Refinement
    network: RetrainedNetwork | None = None
    """What was trained on the masks, if the method says so."""

    @property
    def segmenter(self) -> Segmenter | None:
        """What labels images without tags: the retrained network, else the refinement if it can."""
        if self.network is not None:
            return self.network
        return self.refinement if isinstance(self.refinement, Segmenter) else None


def fit_method(
    method: Method,
    setting: Setting,
    data: WorkingImages,
    *,
    seed: int,
    report: Callable[[str, int, int], None],
    indices: Sequence[int] | None = None,
) -> Fitted:
    """Make the maps of a training split, fit the refinement on them, and retrain on its masks.

    Args:
        method: What to fit.
        setting: What it may know, and where products are kept.
        data: Images and tags.
        seed: Of everything random.
        report: Called with (`maps`, `training`, `masks` or `retraining`, done, in all).
        indices: The images that need maps; all by default. Those that are retrained on must have
            them.

    Raises:
        ValueError: If there is nothing to train on.
    """
    maps = ensure_maps(
        method.maps, setting, data, seed=seed,
        report=lambda done, total: report("maps", done, total), indices=indices,
    )  # fmt: skip
    refinement = method.refinement.build(setting)
    if isinstance(refinement, Resumable) and setting.folder and setting.processes.first:
        key = content_key(
            describe(method.refinement), seed, data.key, setting.key,
            maps.origin, [maps.item_key(index) for index in data.tagged],
            code_id(type(method.refinement).__module__),
        )  # fmt: skip
        refinement.states = setting.place("training") / f"refinement-{key}"
    refinement.fit(
        data, maps, seed=seed, report=lambda done, total: report("training", done, total)
    )
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
    report: Callable[[str, int, int], None],
) -> Fitted:
    """Train the network of a method on the masks of its tagged training images.

    The masks are palette PNGs in the setting's folder, one of the `files` of the network. Pixels to
    which no class gives a score are 255.

    Args:
        method: With a retraining.
        fitted: Its maps and refinement, fitted on `data`.
        setting: As it was fitted with; it has a folder.
        data: Images and tags of the training split.
        seed: Of everything random.
        report: Called with (`masks` or `retraining`, done, in all).

    Raises:
        ValueError: If there is nothing to train on.
    """
    assert method.retraining is not None
    network = method.retraining.build(
        1 + len(setting.class_names), setting.device,
        folder=setting.folder, execution=setting.execution,
    )  # fmt: skip
    masks = _masks(method, fitted, setting, data, seed, report)
    network.fit(
        data, masks, seed=seed, report=lambda done, total: report("retraining", done, total)
    )
    network.files = (*network.files, masks.folder)
    return replace(fitted, network=network)


def _masks(
    method: Method,
    fitted: Fitted,
    setting: Setting,
    data: WorkingImages,
    seed: int,
    report: Callable[[str, int, int], None],
) -> KeptSeeds:
    """The masks of the tagged images on disk, as far as they are missing made now."""
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
            labels = labels_at(scores, data.image_labels[index], _size(scores))
            labels[scores.amax(dim=0) <= 0] = IGNORE
            write_mask(kept.path(index), labels.numpy(), durable=False)
        report("masks", done, len(missing))
    usable = [index for index in wanted if not kept.lacks(index)]
    return KeptSeeds(kept.folder, usable, [data.keys[one] for one in usable])


def _size(scores: Tensor) -> tuple[int, int]:
    return int(scores.shape[1]), int(scores.shape[2])


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
    """Class scores of images, images of one size together.

    Args:
        fitted: The method.
        setting: As it was fitted with.
        data: Images and tags; of the training split or of another one with its own maps.
        indices: Which images.
        finishes: A result for each: the scores as they are, or after a dense CRF.
        batch: How many at a time; smaller when memory runs out.
        maps: Of the images of `data`, one (F, h, w) each; those it was fitted on if absent.

    Yields:
        Image and its scores, (1 + F, h, w) on the CPU for each finish, 0 for classes that are not
        tagged; none if there is not even memory for that image alone. Groups may change the order.
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
    """Scores after the dense CRF on the tagged classes; as they are without one.

    Args:
        images: (B, 3, H, W), uint8.
        scores: (B, 1 + F, H, W), 0 or more.
        image_labels: Tags, (B, F), bool.
        crf: Terms and iterations.
        memory: Where the lattices of images are kept, if anywhere.
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
