"""What a run scores: the masks of a fitted method, and what a network predicts without tags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from bench.errors import BenchError
from bench.studies.workbench import Outcome
from bench.tasks.counts import KeptCounts, remove
from bench.tasks.fitting import timed
from bench.tasks.known import SEED, KnownPixels, SeedView
from bench.tasks.outside import mask_of, masks_in
from bench.tasks.score_map import AFTER, BEFORE, score_map_miou
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.read.names import output_stems
from weakclip.description import describe
from weakclip.masking.folder import write_labels
from weakclip.ops.confusion import class_counts
from weakclip.stages.images import Memory, PerImage
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.method import class_scores
from weakclip.stages.network import TrainedWeakCLIP
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

ROLES = {"train-pseudo": "pseudo", "train-pseudo-crf": "pseudo", "val-network": "val"}
"""Task -> role of the split that it is scored on."""
TASKS = tuple(ROLES)
MAIN_TASKS = ("train-pseudo", "val-network")
"""Those whose differences are tested, and that are diagnosed."""
BATCH = 50
"""Images scored together, unless memory holds fewer."""
COUNTED = 8
"""Masks counted together: as many at most are counted again after a crash."""


class Labelled(NamedTuple):
    """Labels of an image with its annotation, against which they are counted."""

    image: int
    truth: Tensor
    """The annotated mask, (H, W), uint8."""
    masks: tuple[Tensor, ...]
    """Labels of the same shape, one for each finish."""


@dataclass(frozen=True)
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

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, or the main ones."""
        return TASKS if self.preset.scoring == "full" else MAIN_TASKS

    @cached_property
    def known(self) -> Mapping[str, KnownPixels]:
        """Role of a split to what is known of its pixels."""
        memory = Memory(0) if self.setting.memory is None else self.setting.memory
        return {role: KnownPixels(images.files, memory) for role, images in self.images.items()}

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
        diagnosed = self.preset.scoring == "full"
        seeds = self._seeds(fitted) if diagnosed and fitted is not None else None
        kept = {
            task: KeptCounts(
                self._file(key, task),
                len(self.images[ROLES[task]]),
                self.classes,
                self._views(seeds) if diagnosed and task == TASKS[0] else None,
            )
            for task in self.tasks
            if (fitted if ROLES[task] == "pseudo" else network) is not None
        }
        if fitted is not None:
            self._score_pseudo(fitted, kept, seeds, seconds)
        if network is not None:
            self._score_network(network, kept["val-network"], seconds)
        parts = [part for part in (fitted and fitted.refinement, network) if part is not None]
        parts = list({id(part): part for part in parts}.values())  # WeakCLIP is both
        counted = [each.path for each in kept.values()]
        leftovers = [path for part in parts for path in getattr(part, "files", ())] + counted
        return replace(
            _counted(kept, diagnosed=diagnosed),
            parameters=_sizes(fitted, network),
            seconds=seconds,
            curve=[row for part in parts for row in getattr(part, "curve", ())],
            discard=lambda: remove(leftovers),
        )

    def _score_pseudo(
        self,
        fitted: Fitted,
        kept: Mapping[str, KeptCounts],
        seeds: SeedView | None,
        seconds: dict[str, float],
    ) -> None:
        """Count masks of `pseudo` before and, if that is a task, after the CRF, image by image."""
        finishes = {"train-pseudo": None, "train-pseudo-crf": self.preset.crf}
        scored = {finishes[task]: each for task, each in kept.items() if task in finishes}
        missing = sorted({index for each in scored.values() for index in each.missing})
        found = self.masks(fitted, "pseudo", missing, tuple(scored))
        with timed(seconds, "score"):
            self._count("pseudo", found, tuple(scored.values()), seeds)

    def _score_network(
        self, network: Segmenter, kept: KeptCounts, seconds: dict[str, float]
    ) -> None:
        """Count the predictions of the network alone on `val`."""
        with timed(seconds, "infer"):
            self._count("val", self._predictions(network, "val", kept.missing), (kept,))

    def score_maps(self, fitted: Fitted, seed: int, seconds: dict[str, float]) -> dict[str, float]:
        """Figures of the score map of WeakCLIP's network, if the preset asks for them."""
        network = fitted.refinement
        if self.preset.scoring == "full" or not isinstance(network, TrainedWeakCLIP):
            return {}
        with timed(seconds, "score map"):
            states = {BEFORE: network.untrained(seed), AFTER: network}
            scores = {
                task: score_map_miou(
                    states, self.images[ROLES[task]], partial(self.truth, ROLES[task]),
                    batch=BATCH, tags_used=ROLES[task] == "pseudo",
                )
                for task in self.tasks
            }  # fmt: skip
        return {f"{task}/{name}": each for task in scores for name, each in scores[task].items()}

    def score_outside(self, outside: Outside, seconds: dict[str, float]) -> Outcome:
        """Count masks that others made of the images of `pseudo`; 255 is a missed pixel."""
        data = self.images["pseudo"]
        key = content_key(describe(outside), data.key, code_id(__name__))
        diagnosed = self.preset.scoring == "full"
        views = self._views(None) if diagnosed else None
        kept = KeptCounts(self._file(key, TASKS[0]), len(data), self.classes, views)
        masks = masks_in(outside.folder)
        found = (
            Labelled(
                index,
                self.known["pseudo"].mask(index),
                (torch.from_numpy(mask_of(masks, data.files, index)).long(),),
            )
            for index in kept.missing
        )
        with timed(seconds, "score"):
            self._count("pseudo", found, (kept,))
        counted = _counted({TASKS[0]: kept}, diagnosed=diagnosed)
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
    ) -> Iterator[Labelled]:
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
            truth, labels = self.known[role].mask(index), data.image_labels[index]
            masks = tuple(labels_at(each, labels, _size(truth)) for each in scores)
            yield Labelled(index, truth, masks)

    def truth(self, role: str, indices: Iterable[int]) -> list[Tensor]:
        """Annotated masks, (H, W) int64 each; only scoring looks at them."""
        return [self.known[role].mask(index).long() for index in indices]

    def network_counts(self, network: Segmenter, role: str) -> Tensor:
        """(N, K, 3) of a network alone, without tags."""
        data = self.images[role]
        rows = {
            index: class_counts(mask[None], truth[None], self.classes)[0]
            for index, truth, (mask,) in self._predictions(network, role, range(len(data)))
        }
        return torch.stack([rows[index] for index in range(len(data))])

    def _predictions(
        self, network: Segmenter, role: str, indices: Iterable[int]
    ) -> Iterator[Labelled]:
        """Labels of a network alone at the sizes of the annotated masks."""
        every = torch.ones(len(self.setting.class_names), dtype=torch.bool)
        for group in self.images[role].groups(indices, BATCH):
            images, _ = self.images[role].stack(group, self.setting.device)
            for index, scores in zip(group, network.probabilities(images).cpu(), strict=True):
                truth = self.known[role].mask(index)
                yield Labelled(index, truth, (labels_at(scores, every, _size(truth)),))

    def _file(self, key: str, task: str) -> Path:
        """Where the counts of a task are kept."""
        return self.setting.place("counts") / f"{key}-{task}.bin"

    def _seeds(self, fitted: Fitted) -> SeedView:
        """What the seeds of a method's maps by the preset's rule say of the images of `pseudo`."""
        train = self.images["train"]
        seeds = ensure_seeds(fitted.maps, train, self.preset.rule, self.setting)
        return SeedView(seeds, self.places)

    def _views(self, seeds: SeedView | None) -> dict[str, tuple[str, ...]]:
        """Names and groups of all that is known of the pixels of `pseudo`."""
        return {**self.known["pseudo"].views, **({} if seeds is None else seeds.views)}

    def _count(
        self,
        role: str,
        found: Iterable[Labelled],
        kept: Sequence[KeptCounts],
        seeds: SeedView | None = None,
    ) -> None:
        """Count masks as they come, a few of one size at a time."""
        known = self.known[role]
        views = {view for each in kept for view in each.views}
        for group in alike(found, lambda item: tuple(item.truth.shape), COUNTED):
            indices = [each.image for each in group]
            truth = torch.stack([each.truth for each in group])
            pairs = list(zip(indices, truth, strict=True))
            groups = {
                view: torch.stack([known.groups(index, view, mask) for index, mask in pairs])
                for view in views & set(known.views)
            }
            if seeds is not None:
                groups[SEED] = torch.stack([seeds.groups(index, mask) for index, mask in pairs])
            for place, each in enumerate(kept):
                each.add(indices, torch.stack([item.masks[place] for item in group]), truth, groups)


class _Chosen(PerImage):
    """Some of the maps of a split, in an order of their own."""

    def __init__(self, maps: SplitMaps, places: Sequence[int]) -> None:
        self._maps, self._places = maps, places

    def __len__(self) -> int:
        return len(self._places)

    def at(self, position: int) -> Tensor:
        return self._maps[self._places[position]]


def _counted(kept: Mapping[str, KeptCounts], *, diagnosed: bool) -> Outcome:
    """The counts of tasks; for a diagnosis the main ones also by what is known of the pixels."""
    main = {task: each for task, each in kept.items() if task in MAIN_TASKS}
    outcome = Outcome(
        counts={task: each.counts() for task, each in kept.items()},
        boundary={task: each.boundary() for task, each in kept.items()},
    )
    if not diagnosed:
        return outcome
    return replace(
        outcome,
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


def _size(mask: Tensor) -> tuple[int, int]:
    return int(mask.shape[0]), int(mask.shape[1])
