"""Scoring of a run: the masks of a fitted method, and a network's predictions without tags."""

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
"""The tasks whose differences are tested and whose errors are diagnosed."""
BATCH = 50
"""Images per batch in scoring, or fewer if memory is short."""
COUNTED = 8
"""Masks counted and saved together: a crash loses at most the counts of this many."""


class Labelled(NamedTuple):
    """Predicted labels of an image, and its annotated mask."""

    image: int
    truth: Tensor
    """The annotated mask, (H, W), uint8."""
    masks: tuple[Tensor, ...]
    """Predicted labels, (H, W), one mask per post-processing (`finishes`)."""


@dataclass(frozen=True)
class Scoring:
    """Counts pixels of masks and predictions against the annotation of a preset's images."""

    preset: Preset
    images: Mapping[str, WorkingImages]
    """Role of a split -> its images at working size."""
    setting: Setting
    places: Sequence[int]
    """The index in `train` of each image of `pseudo`."""

    @property
    def classes(self) -> int:
        """Number K of classes, background included."""
        return 1 + len(self.setting.class_names)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks; for a preset for studies of components, the main ones."""
        return TASKS if self.preset.scoring == "full" else MAIN_TASKS

    @cached_property
    def known(self) -> Mapping[str, KnownPixels]:
        """Role of a split -> its annotated masks and groups of pixels."""
        memory = self.setting.memory or Memory(0)
        return {role: KnownPixels(images.files, memory) for role, images in self.images.items()}

    def score(
        self, fitted: Fitted | None, network: Segmenter | None, key: str, seconds: dict[str, float]
    ) -> Outcome:
        """Score the masks of a method, the predictions of a network without tags, or both.

        Counts are kept under `key`, the hash of everything they depend on, and interrupted scoring
        resumes by it. The time of each phase is added to `seconds`.
        """
        diagnosed = self.preset.scoring == "full"
        seeds = None
        if diagnosed and fitted is not None:
            rule, train = self.preset.rule, self.images["train"]
            seeds = SeedView(ensure_seeds(fitted.maps, train, rule, self.setting), self.places)
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
        """Count masks of `pseudo` image by image, before the CRF and, if scored, after it."""
        finishes = {"train-pseudo": None, "train-pseudo-crf": self.preset.crf}
        scored = {finishes[task]: each for task, each in kept.items() if task in finishes}
        missing = sorted({index for each in scored.values() for index in each.missing})
        found = self.masks(fitted, "pseudo", missing, tuple(scored))
        with timed(seconds, "score"):
            self._count("pseudo", found, tuple(scored.values()), seeds)

    def _score_network(
        self, network: Segmenter, kept: KeptCounts, seconds: dict[str, float]
    ) -> None:
        """Count the predictions of a network on `val`, without tags and CRF."""
        with timed(seconds, "infer"):
            self._count("val", self._predictions(network, "val", kept.missing), (kept,))

    def score_maps(self, fitted: Fitted, seed: int, seconds: dict[str, float]) -> dict[str, float]:
        """Score WeakCLIP's score map before and after training, if the preset asks for it."""
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
        """Count masks of `pseudo` that were made elsewhere; a label of 255 is a missed pixel."""
        data, diagnosed = self.images["pseudo"], self.preset.scoring == "full"
        key = content_key(describe(outside), data.key, code_id(__name__))
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

        `folder` gets `scores/ID.png` and, after the dense CRF, `crf/ID.png`. Existing files are
        overwritten, because they may be from another training.
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
        """Masks of a method at annotation size, restricted to the tags, one per `finishes`."""
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
        """Annotated masks, (H, W) int64 each; they are used for scoring only."""
        return [self.known[role].mask(index).long() for index in indices]

    def network_counts(self, network: Segmenter, role: str) -> Tensor:
        """Counts of a network's predictions without tags, (N, K, 3)."""
        data = self.images[role]
        rows = {
            index: class_counts(mask[None], truth[None], self.classes)[0]
            for index, truth, (mask,) in self._predictions(network, role, range(len(data)))
        }
        return torch.stack([rows[index] for index in range(len(data))])

    def _predictions(
        self, network: Segmenter, role: str, indices: Iterable[int]
    ) -> Iterator[Labelled]:
        """Predictions of a network without tags, at annotation size."""
        every = torch.ones(len(self.setting.class_names), dtype=torch.bool)
        for group in self.images[role].groups(indices, BATCH):
            images, _ = self.images[role].stack(group, self.setting.device)
            for index, scores in zip(group, network.probabilities(images).cpu(), strict=True):
                truth = self.known[role].mask(index)
                yield Labelled(index, truth, (labels_at(scores, every, _size(truth)),))

    def _file(self, key: str, task: str) -> Path:
        """The file of the counts of a task."""
        return self.setting.place("counts") / f"{key}-{task}.bin"

    def _views(self, seeds: SeedView | None) -> dict[str, tuple[str, ...]]:
        """Views of the pixels of `pseudo`: name -> names of the groups."""
        return {**self.known["pseudo"].views, **({} if seeds is None else seeds.views)}

    def _count(
        self,
        role: str,
        found: Iterable[Labelled],
        kept: Sequence[KeptCounts],
        seeds: SeedView | None = None,
    ) -> None:
        """Count masks in their order, up to `COUNTED` masks of one size at a time."""
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
    """A selection of the maps of a split, in a given order."""

    def __init__(self, maps: SplitMaps, places: Sequence[int]) -> None:
        self._maps, self._places = maps, places

    def __len__(self) -> int:
        return len(self._places)

    def at(self, position: int) -> Tensor:
        return self._maps[self._places[position]]


def _counted(kept: Mapping[str, KeptCounts], *, diagnosed: bool) -> Outcome:
    """The counts of all tasks; if diagnosed, also the cells of the views of the main tasks."""
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
    """Parameters by component; names of a retrained network's components begin with `retrained`."""
    sizes: dict[str, dict[str, int]] = {}
    if fitted is not None:
        sizes = {**fitted.maps.parameters, **fitted.refinement.parameter_counts()}
    if isinstance(network, RetrainedNetwork):
        sizes |= {f"retrained {name}": each for name, each in network.parameter_counts().items()}
    return sizes


def _size(mask: Tensor) -> tuple[int, int]:
    return int(mask.shape[0]), int(mask.shape[1])
