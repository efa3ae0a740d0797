"""The tasks of photographs: any number of images of any size, read from disk as they are needed.

The same three tasks as `bench/tasks/task.py`, by the paper's protocol: trained on windows of images
that
are read and framed in every step, asked at several scales and mirrored through sliding windows,
masks scored at the size of the file. Seeds are made once and kept; nothing is chosen on a pixel
annotation. What differs from the paper is where the seeds come from: the frozen CLIP itself
(CLIP-ES's maps), not MCTformer's.

Nothing here was ever measured by this project: it has no photographs and no CLIP of photographs.
Tests run it on small data in the real layouts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from bench.errors import BenchError
from bench.runs.provenance import code_id
from bench.studies.method import Method
from bench.tasks.measured import TASKS, Measured, parameter_counts, timed
from weakclip.clip.load import load_clip
from weakclip.config import SeedAndBoundary
from weakclip.data.build.coco import MASKS
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.coco import list_coco
from weakclip.data.read.voc import list_voc
from weakclip.network.build import build_model
from weakclip.network.checkpoints import describe
from weakclip.stages.folder import write_labels
from weakclip.stages.inference import multi_scale_probabilities
from weakclip.stages.methods import refined, seeds_of
from weakclip.stages.size import labels_at, shrink, working_size
from weakclip.stages.words import encode_words
from weakclip.training.execution import REFERENCE
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision
from weakclip.training.stream import ViewSpec, ViewStream
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from bench.studies.preset import PhotoPreset
    from bench.studies.workbench import Config, Outcome
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.config import WeakCLIPConfig
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.network.model import WeakCLIP
    from weakclip.training.execution import Execution
    from weakclip.training.stream import Seeded

WAY_OUT = "docs/data.md says where the files are published and how the folder is made"


def open_photos(
    preset: PhotoPreset, root: Path | None, weights: Path | None, device: torch.device,
    artifacts: Path, *, execution: Execution = REFERENCE,
) -> PhotoWorkbench:  # fmt: skip
    """The workbench of a preset of photographs.

    Args:
        preset: The protocol.
        root: Folder of the data set.
        weights: File of the CLIP's weights; absent: they are looked for in the local caches.
        device: Where to compute.
        artifacts: Folder of seeds and states of training.
        execution: How the network is trained and asked.

    Raises:
        BenchError: If there is no root, or the data set is not whole.
        FileNotFoundError: If a list, the annotations or the weights are missing.
        ValueError: If a file is not what it claims to be.
    """
    if root is None:
        raise BenchError(
            f"preset {preset.name!r}: expected --data-root, the folder of {preset.data.upper()}; "
            + WAY_OUT
        )
    splits = {role: _read(preset, root, split) for role, split in preset.splits.items()}
    clip = load_clip(preset.clip, weights=weights, device=device)
    return PhotoWorkbench(preset, splits, clip, artifacts, execution=execution)


def _read(preset: PhotoPreset, root: Path, split: str) -> TaggedFiles:
    """A split in the official layout: VOC's, or COCO's with masks by `weakclip data coco`."""
    if preset.data == "voc":
        files = list_voc(root, split)
    else:
        annotations = root / "annotations" / f"instances_{split}.json"
        files = _annotated(list_coco(annotations, root / split, masks=root / MASKS))
    if files.problems:
        first = files.problems[0]
        raise BenchError(
            f"split {split!r}: {len(files.problems)} of its images cannot be used, first "
            f"{first.name}: {first.reason}; {WAY_OUT}"
        )
    return files


def _annotated(files: TaggedFiles) -> TaggedFiles:
    """The images with an annotation, on which weakly-supervised methods are trained and scored."""
    kept = files.image_labels.any(dim=1).nonzero()[:, 0].tolist()
    return replace(
        files,
        names=tuple(files.names[index] for index in kept),
        image_labels=files.image_labels[kept],
        masks=tuple(files.masks[index] for index in kept),
    )


class PhotoWorkbench:
    """Photographs, a frozen CLIP and the paper's protocol."""

    tasks = TASKS

    def __init__(
        self,
        preset: PhotoPreset,
        splits: Mapping[str, TaggedFiles],
        clip: CLIPBundle,
        artifacts: Path,
        *,
        execution: Execution = REFERENCE,
    ) -> None:
        """Take opened data; no image is read yet.

        Args:
            preset: The protocol.
            splits: `train` (trained on), `pseudo` (its masks are scored) and `val`.
            clip: The frozen CLIP, on its device.
            artifacts: Folder of seeds and states of training.
            execution: How the network is trained and asked.

        Raises:
            BenchError: If an image of a scored split has no annotated mask, or no image of `train`
                has a tag.
        """
        self.preset, self.clip, self.artifacts = preset, clip, artifacts
        self.execution = execution
        self.train, self.pseudo, self.val = (splits[name] for name in ("train", "pseudo", "val"))
        for name, files in (("pseudo", self.pseudo), ("val", self.val)):
            bare = [image for image, mask in zip(files.names, files.masks, strict=True) if not mask]
            if bare:
                raise BenchError(
                    f"split {preset.splits[name]!r}: expected a mask of every image, got none of "
                    f"{len(bare)} of {len(files)}, first {bare[0]}; see `weakclip check`"
                )
        self._tagged: list[int] = self.train.image_labels.any(dim=1).nonzero()[:, 0].tolist()
        if not self._tagged:
            raise BenchError(f"split {preset.splits['train']!r}: no image has a tag")
        self._texts = encode_words(clip, self.train.classes, preset.words)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K class names, background first."""
        return ("background", *self.train.classes)

    @property
    def protocol(self) -> dict[str, object]:
        """How the numbers are made."""
        preset = self.preset
        scored = (preset.splits["pseudo"], preset.splits["pseudo"], preset.splits["val"])
        return {
            "splits": dict(zip(TASKS, scored, strict=True)),
            "trained_on": preset.splits["train"],
            "main_tasks": ["train-pseudo", "val-network"],
            "tags_used": {"train-pseudo": True, "train-pseudo-crf": True, "val-network": False},
            "scales": list(preset.scales),
            "flip": True,
            "window": preset.framing.size,
            "largest_side": preset.max_side,
            "seeds": {**describe(preset.source), "rule": describe(preset.rule)},
            "words": {"template": preset.words.template},
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "recipe": asdict(preset.recipe),
            "crf": {"train-pseudo-crf": repr(preset.crf)},
            "views": {"per_image": preset.views, **asdict(preset.framing)},
            **self.execution.arithmetic,
        }

    @property
    def data(self) -> dict[str, object]:
        """Data set, image counts and hashes of the image lists."""
        splits = {"train": self.train, "pseudo": self.pseudo, "val": self.val}
        return {
            "name": self.preset.data,
            "images": {name: len(files) for name, files in splits.items()},
            "list_sha256": {name: files.sha256 for name, files in splits.items()},
        }

    @property
    def weights(self) -> dict[str, object]:
        """Which frozen CLIP."""
        return {"id": self.clip.name, "sha256": self.clip.sha256}

    def run(self, config: Config, seed: int, *, report: Callable[[int, int], None]) -> Outcome:
        """Train one configuration on seeds, and score its masks and its own predictions.

        Raises:
            BenchError: If the configuration is a rival's, which needs images in memory.
        """
        if isinstance(config, Method):
            raise BenchError(
                f"preset {self.preset.name!r}: expected configurations of WeakCLIP, got a method "
                "whose maps are kept in memory; its rows run with preset cartoon"
            )
        measured = Measured(self.class_names)
        with timed(measured.seconds, "seeds"):
            self._make_seeds()
        with timed(measured.seconds, "train"):
            model, curve = self._train(config, seed, report)
        self._score_pseudo(model, measured)
        self._score_network(model, measured)
        return measured.outcome(parameter_counts(model), curve)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.clip.image.vision.proj.device
        return device

    @cached_property  # it is asked for every image of every step
    def _seeds_folder(self) -> Path:
        preset = self.preset
        parts = [
            describe(preset.source), describe(preset.rule), describe(preset.words),
            preset.max_side, self.clip.sha256, self.train.sha256, code_id(),
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return self.artifacts / f"seeds-{key}"

    def _seed_path(self, index: int) -> Path:
        return self._seeds_folder / f"{index}.png"

    def _make_seeds(self) -> None:
        """Write the seeds that are missing; each file is whole or not there."""
        spec = (self.preset.source, self.preset.rule)
        for index in self._tagged:
            if not self._seed_path(index).exists():
                image, labels = self._working(self.train, index)
                seeds = seeds_of(self.clip, image, labels, self._texts, spec)
                write_labels(self._seed_path(index), seeds[0].numpy())

    def _working(self, files: TaggedFiles, index: int) -> tuple[Tensor, Tensor]:
        """An image at its working size, (1, 3, h, w) uint8, and its tags (1, F)."""
        image = files.image(index)
        size = (int(image.shape[1]), int(image.shape[2]))
        target = working_size(size, self.preset.max_side, self.clip.patch_size)
        labels = files.image_labels[index : index + 1].to(self._device)
        return shrink(image, target)[None].to(self._device), labels

    def _seeded(self, position: int) -> Seeded:
        index = self._tagged[position]
        seeds = torch.from_numpy(read_mask(self._seed_path(index))).long()
        return shrink(self.train.image(index), (seeds.shape[0], seeds.shape[1])), seeds

    def _train(
        self, config: WeakCLIPConfig, seed: int, report: Callable[[int, int], None]
    ) -> tuple[WeakCLIP, list[dict[str, float]]]:
        """Train, from the last state if a training of the same was interrupted."""
        preset, losses = self.preset, config.supervision
        guided = losses if isinstance(losses, SeedAndBoundary) else None
        stream = ViewStream(
            self._seeded,
            len(self._tagged),
            ViewSpec(
                framing=preset.framing,
                views=preset.views,
                grid=(guided or SeedAndBoundary()).grid,
                crf=guided.crf if guided else None,
                batch_size=preset.recipe.batch_size,
                seed=seed,
                execution=self.execution,
            ),
            self.clip,
            self.clip.image.configured(taps=config.taps, class_token=config.class_token),
        )
        parts = [describe(config), asdict(preset.recipe), seed, self._seeds_folder.name]
        parts += sorted(self.execution.arithmetic.items())
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        state = self.artifacts / "training" / f"{key}.pt"
        torch.manual_seed(seed)
        model = build_model(config, self.clip, self.class_names, seed=seed).to(self._device)
        supervision = build_supervision(losses, config.tau)
        curve = fit(
            model, supervision, stream, preset.recipe, report=report, resume=state,
            execution=self.execution,
        )  # fmt: skip
        state.unlink(missing_ok=True)
        return model, curve

    def _probabilities(self, model: WeakCLIP, image: Tensor, text: Tensor) -> Tensor:
        crop = self.preset.framing.size
        return multi_scale_probabilities(
            model,
            normalise_images(image, self.clip.mean, self.clip.std),
            crop=crop,
            stride=2 * crop // 3,
            scales=self.preset.scales,
            text=text,
            execution=self.execution,
        )

    @staticmethod
    def _truth(files: TaggedFiles, index: int) -> Tensor:
        """The annotated mask, (H, W), int64."""
        mask = files.gt_mask(index)
        assert mask is not None  # looked for when the workbench was made
        return torch.from_numpy(mask).long()

    @torch.no_grad()
    def _score_pseudo(self, model: WeakCLIP, measured: Measured) -> None:
        """Masks of `pseudo` restricted to the tags, before and after the CRF."""
        text = model.text()
        for index in range(len(self.pseudo)):
            image, labels = self._working(self.pseudo, index)
            truth = self._truth(self.pseudo, index)
            with timed(measured.seconds, "infer"):
                scores = self._probabilities(model, image, text)
            known = torch.nn.functional.pad(labels, (1, 0), value=True)
            scores = scores * known[:, :, None, None]
            with timed(measured.seconds, "crf"):
                smooth = refined(image, scores, labels, self.preset.crf)
            for task, found in (("train-pseudo", scores), ("train-pseudo-crf", smooth)):
                mask = labels_at(found[0], labels[0].cpu(), (truth.shape[0], truth.shape[1]))
                measured.add(task, mask[None], truth[None])

    @torch.no_grad()
    def _score_network(self, model: WeakCLIP, measured: Measured) -> None:
        """The network alone on `val`, without tags."""
        text = model.text()
        every = torch.ones(len(self.val.classes), dtype=torch.bool)
        for index in range(len(self.val)):
            image, _ = self._working(self.val, index)
            truth = self._truth(self.val, index)
            with timed(measured.seconds, "infer"):
                scores = self._probabilities(model, image, text)
            mask = labels_at(scores[0], every, (truth.shape[0], truth.shape[1]))
            measured.add("val-network", mask[None], truth[None])
