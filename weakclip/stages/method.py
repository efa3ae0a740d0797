"""One way from images and tags to class scores: a method is a value, and this is what runs it.

```
images + tags -> maps -> (seeds) -> refinement -> class scores -> finish -> masks
```

Every driver walks this way: studies on any data set, searches, galleries, `weakclip masks`. None
has a branch about a method; WeakCLIP is one of the refinements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weakclip.crf.dense import CRFConfig, build_lattices, dense_crf
from weakclip.stages.images import bytes_key
from weakclip.stages.maps import MapSource, SplitMaps, ensure_maps
from weakclip.stages.refine import known_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from weakclip.crf.dense import Lattices
    from weakclip.stages.images import Memory, WorkingImages
    from weakclip.stages.protocols import Refinement, RefinementSpec, Setting
    from weakclip.training.memory import BatchSize


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Whose class activation maps, what is made of them, and how scores are finished."""

    maps: MapSource
    refinement: RefinementSpec
    crf: CRFConfig | None = None
    """Dense CRF on the scores of the tagged classes; absent: the scores as they are."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted method, ready for images."""

    maps: SplitMaps
    refinement: Refinement


def fit_method(
    method: Method,
    setting: Setting,
    data: WorkingImages,
    *,
    seed: int,
    report: Callable[[str, int, int], None],
    indices: Sequence[int] | None = None,
) -> Fitted:
    """Make the maps of a training split and fit the refinement on them.

    Args:
        method: What to fit.
        setting: What it may know, and where products are kept.
        data: Images and tags.
        seed: Of everything random.
        report: Called with (`maps` or `training`, done, in all).
        indices: The images that need maps; all by default.

    Raises:
        ValueError: If there is nothing to train on.
    """
    maps = ensure_maps(
        method.maps, setting, data, seed=seed,
        report=lambda done, total: report("maps", done, total), indices=indices,
    )  # fmt: skip
    refinement = method.refinement.build(setting)
    refinement.fit(
        data, maps, seed=seed, report=lambda done, total: report("training", done, total)
    )
    return Fitted(maps, refinement)


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
