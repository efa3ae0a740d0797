"""What a run scores: the masks of a fitted method, and what a network predicts without tags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from bench.errors import BenchError
from bench.studies.workbench import Outcome
from bench.tasks.counts import KeptCounts, remove
from bench.tasks.fitting import timed
from bench.tasks.known import KnownPixels
from bench.tasks.outside import mask_of, masks_in
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.read.names import output_stems
from weakclip.description import describe
from weakclip.masking.folder import write_labels
from weakclip.ops.confusion import class_counts
from weakclip.stages.images import PerImage
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.method import class_scores
from weakclip.stages.retrain import RetrainedNetwork
from weakclip.stages.size import labels_at
from weakclip.training.memory import BatchSize, alike

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from bench.studies.method import Outside
    from bench.studies.preset import Preset
    from weakclip.crf.dense import CRFConfig
    from weakclip.stages.images import WorkingImages
    from weakclip.stages.maps import SplitMaps
    from weakclip.stages.method import Fitted
    from weakclip.stages.protocols import Segmenter, Setting

TASKS = ("train-pseudo", "train-pseudo-crf", "val-network")
MAIN_TASKS = ("train-pseudo", "val-network")
"""Those whose differences are tested, and that are diagnosed."""
BATCH = 50
"""Images scored together, unless memory holds fewer."""
COUNTED = 8
"""Masks counted together: as many at most are counted again after a crash."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Counts masks and predictions of a preset's images."""

    preset: Preset
    images: Mapping[str, WorkingImages]
    """Role of a split to its images at working size."""
    setting: Setting
    places: Sequence[int]
    """Where in `train` each image of `pseudo` is."""

    @property
    def classes(self) -> int:
        """K, background included."""
        return 1 + len(self.setting.class_names)

    def score(
        self, fitted: Fitted | None, network: Segmenter | None, key: str, seconds: dict[str, float]
    ) -> Outcome:
        """Score what there is: the masks of a method, the predictions of a network.

        Args:
            fitted: The method.
            network: What labels without tags.
            key: Of all that the counts depend on; a scoring that was stopped goes on under it.
            seconds: What fitting took, by phase.
        """
        roles = dict(zip(TASKS, ("pseudo", "pseudo", "val"), strict=True))
        kept = {
            task: KeptCounts(
                self._file(key, task),
                len(self.images[role]),
                self.classes,
                self._known(fitted) if task == "train-pseudo" and fitted else None,
            )
            for task, role in roles.items()
            if (fitted if role == "pseudo" else network) is not None
        }
        if fitted is not None:
            self._score_pseudo(fitted, kept["train-pseudo"], kept["train-pseudo-crf"], seconds)
        if network is not None:
            self._score_network(network, kept["val-network"], seconds)
        parts = [part for part in (fitted and fitted.refinement, network) if part is not None]
        parts = list({id(part): part for part in parts}.values())  # WeakCLIP is both
        counted = [each.path for each in kept.values()]
        leftovers = [path for part in parts for path in getattr(part, "files", ())] + counted
        return replace(
            _counted(kept),
            parameters=_sizes(fitted, network),
            seconds=seconds,
            curve=[row for part in parts for row in getattr(part, "curve", ())],
            discard=lambda: remove(leftovers),
        )

    def _score_pseudo(
        self, fitted: Fitted, plain: KeptCounts, smooth: KeptCounts, seconds: dict[str, float]
    ) -> None:
        """Count masks of `pseudo` before and after the CRF, image by image."""
        missing = sorted({*plain.missing, *smooth.missing})
        found = self.masks(fitted, "pseudo", missing, (None, self.preset.crf))
        with timed(seconds, "score"):
            self._count("pseudo", found, (plain, smooth))

    def _score_network(
        self, network: Segmenter, kept: KeptCounts, seconds: dict[str, float]
    ) -> None:
        """Count the predictions of the network alone on `val`."""
        with timed(seconds, "infer"):
            found = (
                (index, (mask,))
                for group in self.images["val"].groups(kept.missing, BATCH)
                for index, mask in zip(group, self._predictions(network, "val", group), strict=True)
            )
            self._count("val", found, (kept,))

    def score_outside(self, outside: Outside, seconds: dict[str, float]) -> Outcome:
        """Count masks that others made of the images of `pseudo`; 255 is a missed pixel."""
        data = self.images["pseudo"]
        key = content_key(describe(outside), data.key, code_id(__name__))
        kept = KeptCounts(self._file(key, TASKS[0]), len(data), self.classes, self._known(None))
        masks = masks_in(outside.folder)
        found = (
            (index, (torch.from_numpy(mask_of(masks, data.files, index)).long(),))
            for index in kept.missing
        )
        with timed(seconds, "score"):
            self._count("pseudo", found, (kept,))
        counted = _counted({TASKS[0]: kept})
        return replace(counted, seconds=seconds, discard=lambda: remove((kept.path,)))

    def write_masks(self, fitted: Fitted, folder: Path) -> None:
        """Write the masks of all training images that have tags, restricted to them.

        Args:
            fitted: The method.
            folder: Gets `scores/ID.png` and, after the dense CRF, `crf/ID.png`; what is there is
                made again, because it may be another training's.
        """
        data, stems = self.images["train"], output_stems(self.images["train"].files.names)
        found = class_scores(
            fitted, self.setting, data, data.tagged, (None, self.preset.crf),
            batch=BatchSize(BATCH),
        )  # fmt: skip
        for index, scores in found:
            size = data.file_size(index)
            if scores is None or size is None:
                raise BenchError(f"{data.files.names[index]}: not enough memory for its mask")
            for name, each in zip(("scores", "crf"), scores, strict=True):
                labels = labels_at(each, data.image_labels[index], size)
                write_labels(folder / name / f"{stems[index]}.png", labels.numpy())

    def masks(
        self,
        fitted: Fitted,
        role: str,
        indices: Iterable[int],
        finishes: Sequence[CRFConfig | None] = (None,),
    ) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Labels at the size of the annotated mask, restricted to the tags, one for each finish."""
        data, pseudo = self.images[role], role == "pseudo"
        maps = _Chosen(fitted.maps, self.places) if pseudo else fitted.maps
        found = class_scores(
            fitted, self.setting, data, indices, finishes, batch=BatchSize(BATCH), maps=maps
        )
        for index, scores in found:
            if scores is None:
                raise BenchError(
                    f"{data.files.names[index]}: not enough memory; choose a smaller longest side"
                )
            (truth,) = self.truth(role, (index,))
            size = (int(truth.shape[0]), int(truth.shape[1]))
            labels = data.image_labels[index]
            yield index, tuple(labels_at(each, labels, size) for each in scores)

    def truth(self, role: str, indices: Sequence[int]) -> list[Tensor]:
        """Annotated masks, (H, W) int64 each; only scoring looks at them."""
        found = []
        for index in indices:
            mask = self.images[role].files.gt_mask(index)
            if mask is None:
                name = self.images[role].files.names[index]
                raise BenchError(f"{name}: expected an annotated mask, got none")
            found.append(torch.from_numpy(mask).long())
        return found

    def network_counts(self, network: Segmenter, role: str) -> Tensor:
        """(N, K, 3) of a network alone, without tags."""
        data = self.images[role]
        rows: dict[int, Tensor] = {}
        for group in data.groups(range(len(data)), BATCH):
            masks = self._predictions(network, role, group)
            for index, mask, truth in zip(group, masks, self.truth(role, group), strict=True):
                rows[index] = class_counts(mask[None], truth[None], self.classes)[0]
        return torch.stack([rows[index] for index in range(len(data))])

    def _predictions(self, network: Segmenter, role: str, group: Sequence[int]) -> list[Tensor]:
        """Labels of a network alone at the sizes of the annotated masks."""
        images, _ = self.images[role].stack(group, self.setting.device)
        every = torch.ones(len(self.setting.class_names), dtype=torch.bool)
        sizes = [tuple(truth.shape) for truth in self.truth(role, group)]
        return [
            labels_at(scores, every, (size[0], size[1]))
            for scores, size in zip(network.probabilities(images).cpu(), sizes, strict=True)
        ]

    def _file(self, key: str, task: str) -> Path:
        """Where the counts of a task are kept."""
        return self.setting.place("counts") / f"{key}-{task}.bin"

    def _known(self, fitted: Fitted | None) -> KnownPixels:
        """What is known of `pseudo`; the seeds are of the method's maps by the preset's rule."""
        files, train = self.images["pseudo"].files, self.images["train"]
        if fitted is None:
            return KnownPixels(files)
        seeds = ensure_seeds(fitted.maps, train, self.preset.rule, self.setting)
        return KnownPixels(files, seeds, self.places)

    def _count(
        self,
        role: str,
        found: Iterable[tuple[int, tuple[Tensor, ...]]],
        kept: Sequence[KeptCounts],
    ) -> None:
        """Count masks as they come, a few of one size at a time."""
        for group in alike(found, lambda item: tuple(item[1][0].shape), COUNTED):
            indices = [index for index, _ in group]
            truth = torch.stack(self.truth(role, indices))
            for place, each in enumerate(kept):
                each.add(indices, torch.stack([masks[place] for _, masks in group]), truth)


class _Chosen(PerImage):
    """Some of the maps of a split, in an order of their own."""

    def __init__(self, maps: SplitMaps, places: Sequence[int]) -> None:
        self._maps, self._places = maps, places

    def __len__(self) -> int:
        return len(self._places)

    def at(self, position: int) -> Tensor:
        return self._maps[self._places[position]]


def _counted(kept: Mapping[str, KeptCounts]) -> Outcome:
    """The counts of tasks, of the main ones also by what is known of the pixels."""
    main = {task: each for task, each in kept.items() if task in MAIN_TASKS}
    return Outcome(
        counts={task: each.counts() for task, each in kept.items()},
        boundary={task: each.boundary() for task, each in kept.items()},
        confusion={task: each.confusion() for task, each in kept.items()},
        cells={
            task: {view: each.cells(view) for view in each.views} for task, each in main.items()
        },
        groups={task: each.views for task, each in main.items()},
    )


def _sizes(fitted: Fitted | None, network: Segmenter | None) -> dict[str, dict[str, int]]:
    """Parameters by component; those of a retrained network under names of their own."""
    sizes: dict[str, dict[str, int]] = {}
    if fitted is not None:
        sizes = {**fitted.maps.parameters, **fitted.refinement.parameter_counts()}
    if isinstance(network, RetrainedNetwork):
        sizes |= {f"retrained {name}": each for name, each in network.parameter_counts().items()}
    return sizes
