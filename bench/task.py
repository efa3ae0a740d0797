"""The tasks of the presets: from images and tags to scored pseudo masks and predictions.

Three tasks per run, all from one training: `train-pseudo` scores the network's masks on `train`
restricted to the known tags (allowed: the tags are the supervision), `train-pseudo-crf` the same
after the dense CRF, `val-network` the network alone on `val`, without tags and without CRF.
Nothing is chosen on a pixel annotation: fixed schedule, last step, thresholds by rule.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.bank import Bank, BankBatches, BankSpec, ensure_bank
from bench.cartoon.vocabulary import BACKGROUND_WORDS, DISPLAY_NAMES
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import ensure_voc
from bench.errors import BenchError, unknown
from bench.workbench import Outcome
from weakclip.build import build_model, build_supervision
from weakclip.checkpoints import describe
from weakclip.clip.load import load_clip
from weakclip.config import SeedAndBoundary
from weakclip.data.voc import VOCDataset
from weakclip.ops.confusion import boundary_counts, boundary_width, class_counts
from weakclip.ops.crf import Bilateral, CRFConfig, Gaussian, build_lattices, dense_crf
from weakclip.seeds import (
    CAMSource,
    OtsuBand,
    PatchSoftmax,
    SeedRule,
    class_activation_maps,
    encode_texts,
    seeds_from,
)
from weakclip.training import Recipe, fit
from weakclip.views import Framing, normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from bench.workbench import Counts
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Features
    from weakclip.config import WeakCLIPConfig
    from weakclip.model import WeakCLIP
    from weakclip.ops.crf import Lattices

TASKS = ("train-pseudo", "train-pseudo-crf", "val-network")
_CHUNK = 50  # images scored at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A data set, a CLIP and a training protocol. Everything that moves a number is here."""

    name: str
    clip: str
    splits: Mapping[str, int]
    """Split name to number of images of the generated world."""
    recipe: Recipe
    source: CAMSource = PatchSoftmax()
    rule: SeedRule = OtsuBand()
    template: str = "a photo of a {}."
    views: int = 4
    framing: Framing = Framing(size=128, ratio=(0.75, 1.5))
    crf: CRFConfig = CRFConfig(
        terms=(Gaussian(sxy=1, weight=3), Bilateral(sxy=21, srgb=5, weight=3))
    )
    """WeakCLIP's parameters for VOC with the distances scaled from 500 to 128 pixels."""
    world: WorldConfig = WorldConfig(size=128)
    world_seed: int = 2012


CARTOON = Preset(
    name="cartoon",
    clip="micro",
    splits={"train": 400, "val": 200, "tune": 200},
    recipe=Recipe(
        iterations=200, batch_size=8, learning_rate=4e-3, weight_decay=1e-2, warmup=20,
        warmup_ratio=1e-3, final_learning_rate=1e-5, log_every=40,
    ),
)  # fmt: skip
SMOKE = replace(
    CARTOON,
    name="smoke",
    clip="random-micro",
    splits={"train": 8, "val": 8, "tune": 4},
    recipe=replace(CARTOON.recipe, iterations=4, batch_size=4, warmup=1, log_every=2),
)
_PRESETS = {preset.name: preset for preset in (CARTOON, SMOKE)}
PRESETS = tuple(sorted(_PRESETS))


def prepare(
    preset: str, *, data_root: Path | None, device: str, artifacts: Path
) -> CartoonWorkbench:
    """The workbench of a preset; what it needs on disk is made on the first call.

    Args:
        preset: One of `PRESETS`.
        data_root: An existing data set in VOC layout with the splits `train` and `val`; absent:
            CartoonVOC below `artifacts`.
        device: `cpu` or `cuda`.
        artifacts: Folder for everything that can be made again.

    Raises:
        BenchError: If the preset is unknown or the data or the weights are not what they claim.
    """
    if preset not in _PRESETS:
        raise unknown("preset", preset, PRESETS)
    try:
        return CartoonWorkbench(_PRESETS[preset], data_root, torch.device(device), artifacts)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BenchError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Split:
    """The images of a split in memory."""

    images: Tensor
    """(N, 3, H, W), uint8."""
    gt_masks: Tensor
    """(N, H, W), int64; only scoring looks at them."""
    image_labels: Tensor
    """(N, F), bool."""
    list_sha256: str


class CartoonWorkbench:
    """Data, frozen CLIP, seeds and frozen features of a preset, and how a run uses them."""

    def __init__(
        self, preset: Preset, data_root: Path | None, device: torch.device, artifacts: Path
    ) -> None:
        """Read the data and make the seeds."""
        self.preset, self.device, self.artifacts = preset, device, artifacts
        self.clip = load_clip(preset.clip, device=device)
        root = data_root
        if root is None:
            root = artifacts / f"cartoonvoc-{_key(preset.world, preset.world_seed, preset.splits)}"
            ensure_voc(root, preset.world, seed=preset.world_seed, splits=dict(preset.splits))
        self.root = root
        self._banks: dict[tuple[object, ...], tuple[Bank, Features]] = {}
        self._train_lattices: list[Lattices] = []

    tasks = TASKS
    class_names = ("background", *DISPLAY_NAMES)

    @property
    def protocol(self) -> dict[str, object]:
        """How the numbers are made."""
        return {
            "splits": dict(zip(TASKS, ("train", "train", "val"), strict=True)),
            "main_tasks": ["train-pseudo", "val-network"],
            "tags_used": {"train-pseudo": True, "train-pseudo-crf": True, "val-network": False},
            "scales": [1.0],
            "flip": True,
            "seeds": {**describe(self.preset.source), "rule": describe(self.preset.rule)},
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "recipe": asdict(self.preset.recipe),
            "crf": {"train-pseudo-crf": repr(self.preset.crf)},
            "views": {"per_image": self.preset.views, **asdict(self.preset.framing)},
            "boundary_width_px": self._boundary_width,
        }

    @property
    def data(self) -> dict[str, object]:
        """Data set, splits, image counts and hashes of the image lists."""
        return {
            "name": "CartoonVOC",
            "world_seed": self.preset.world_seed,
            "size_px": self.preset.world.size,
            "images": {"train": len(self.train.images), "val": len(self.val.images)},
            "list_sha256": {"train": self.train.list_sha256, "val": self.val.list_sha256},
        }

    @property
    def weights(self) -> dict[str, object]:
        """Which frozen CLIP."""
        return {"id": self.clip.name, "sha256": self.clip.sha256}

    @cached_property
    def train(self) -> Split:
        """The training split."""
        return read_split(self.root, "train")

    @cached_property
    def val(self) -> Split:
        """The validation split."""
        return read_split(self.root, "val")

    @cached_property
    def seeds(self) -> Tensor:
        """Seed labels of the training split, (N, H, W), uint8."""
        return make_seeds(self.clip, self.train, self.preset, self.device)

    def run(
        self, config: WeakCLIPConfig, seed: int, *, report: Callable[[int, int], None]
    ) -> Outcome:
        """Train one configuration on the seeds and score its masks."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "prepare"):
            bank, val_features = self.features(config)
        torch.manual_seed(seed)
        model = build_model(config, self.clip, self.class_names, seed=seed)
        with _timed(seconds, "train"):
            spec = config.supervision
            batches = BankBatches(
                bank,
                batch_size=self.preset.recipe.batch_size,
                seed=seed,
                crf=spec.crf if isinstance(spec, SeedAndBoundary) else None,
            )
            supervision = build_supervision(spec, config.tau)
            curve = fit(model, supervision, batches, self.preset.recipe, report=report)
        counts: dict[str, Counts] = {}
        boundary: dict[str, Counts] = {}
        with _timed(seconds, "infer"):
            rows = range(0, len(bank) * bank.views, bank.views)
            plain, mirrored = bank.features(list(rows)), bank.features([r + 1 for r in rows])
            train_probs = self._probabilities(model, plain, mirrored)
            count = len(self.val.images)
            val_probs = self._probabilities(
                model, val_features.select(slice(count)), val_features.select(slice(count, None))
            )
        known = F.pad(self.train.image_labels, (1, 0), value=True)
        train_probs = train_probs * known[:, :, None, None]
        self._score("train-pseudo", train_probs.argmax(1), self.train, counts, boundary)
        with _timed(seconds, "crf"):
            refined = self._refine(train_probs, known)
        self._score("train-pseudo-crf", refined, self.train, counts, boundary)
        self._score("val-network", val_probs.argmax(1), self.val, counts, boundary)
        return Outcome(
            counts=counts,
            boundary=boundary,
            parameters=parameter_counts(model),
            seconds=seconds,
            curve=curve,
        )

    def features(self, config: WeakCLIPConfig) -> tuple[Bank, Features]:
        """Frozen features of the training views and of `val`, plain then mirrored."""
        grid = config.supervision.grid if isinstance(config.supervision, SeedAndBoundary) else 32
        if config.drop_path:
            raise ValueError("drop_path: features of a tower with drop path cannot be kept")
        key = (config.taps, config.class_token, grid)
        if key not in self._banks:
            tower = self.clip.image.configured(taps=config.taps, class_token=config.class_token)
            spec = BankSpec(
                images_sha256=_sha256(self.train.images, self.seeds),
                clip_sha256=self.clip.sha256,
                taps=config.taps,
                class_token=config.class_token,
                grid=grid,
                views=self.preset.views,
                framing=self.preset.framing,
                seed=self.preset.world_seed,
            )
            bank = ensure_bank(
                self.artifacts, spec, self.train.images, self.seeds, self.clip, tower
            )
            images = torch.cat([self.val.images, self.val.images.flip(-1)]).to(self.device)
            val = tower(normalise_images(images, self.clip.mean, self.clip.std))
            val = bank.standardise(val)
            self._banks[key] = (bank, val)
        return self._banks[key]

    @torch.no_grad()
    def _probabilities(self, model: WeakCLIP, plain: Features, mirrored: Features) -> Tensor:
        """Class probabilities at image size, mean of image and mirror image: (N, K, H, W)."""
        text, size = model.text(), self.train.images.shape[-2:]
        parts = []
        for start in range(0, len(plain.global_embedding), _CHUNK):
            rows = slice(start, start + _CHUNK)
            views = []
            for features, flip in ((plain, False), (mirrored, True)):
                logits = model(features.select(rows), text=text).logits
                logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
                chance = logits.softmax(dim=1)
                views.append(chance.flip(-1) if flip else chance)
            parts.append(((views[0] + views[1]) / 2).cpu())
        return torch.cat(parts)

    def _refine(self, probs: Tensor, known: Tensor) -> Tensor:
        """Labels after the dense CRF on the tagged classes, (N, H, W); lattices are kept."""
        images = self.train.images.to(self.device)
        if not self._train_lattices:
            built = [
                build_lattices(chunk, self.preset.crf) for chunk in torch.split(images, _CHUNK)
            ]
            self._train_lattices = [part[i] for part in built for i in range(len(part))]
        labels = []
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            marginals = dense_crf(
                images[rows],
                probs[rows].to(self.device),
                self.preset.crf,
                present=known[rows],
                lattices=self._train_lattices[rows],
            )
            labels.append(marginals.argmax(1).cpu())
        return torch.cat(labels)

    @property
    def _boundary_width(self) -> int:
        return boundary_width(*self.train.images.shape[-2:])

    def _score(
        self,
        task: str,
        pred: Tensor,
        split: Split,
        counts: dict[str, Counts],
        boundary: dict[str, Counts],
    ) -> None:
        classes = len(self.class_names)
        counts[task] = class_counts(pred, split.gt_masks, classes).numpy()
        boundary[task] = boundary_counts(
            pred, split.gt_masks, classes, width=self._boundary_width
        ).numpy()


def read_split(root: Path, split: str) -> Split:
    """Read a split of a data set in VOC layout whose images have one size.

    Raises:
        BenchError: If the folder is not what it claims to be, or the images differ in size.
    """
    try:
        dataset = VOCDataset(root, split)
        samples = [dataset[i] for i in range(len(dataset))]
    except (OSError, ValueError) as error:
        raise BenchError(str(error)) from error
    sizes = {sample.image.shape for sample in samples}
    if len(sizes) != 1:
        raise BenchError(f"{split}: expected images of one size, got {sorted(sizes)[:3]}")
    masks = [sample.gt_mask for sample in samples]
    if any(mask is None for mask in masks):
        raise BenchError(f"{split}: expected a SegmentationClass mask for every image")
    return Split(
        images=torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2),
        gt_masks=torch.from_numpy(np.stack([m for m in masks if m is not None])).long(),
        image_labels=torch.from_numpy(dataset.image_labels()),
        list_sha256=dataset.image_list_sha256,
    )


def make_cams(
    clip: CLIPBundle, split: Split, source: CAMSource, template: str, device: torch.device
) -> Tensor:
    """CAMs of a split from the frozen CLIP and the tags, (N, F, h, w)."""
    texts = encode_texts(clip, DISPLAY_NAMES, BACKGROUND_WORDS, template)
    parts = [
        class_activation_maps(
            clip,
            normalise_images(images.to(device), clip.mean, clip.std),
            labels.to(device),
            texts,
            source,
        ).cpu()
        for images, labels in zip(
            torch.split(split.images, _CHUNK), torch.split(split.image_labels, _CHUNK), strict=True
        )
    ]
    return torch.cat(parts)


def make_seeds(clip: CLIPBundle, split: Split, preset: Preset, device: torch.device) -> Tensor:
    """Seed labels of a split, (N, H, W), uint8."""
    cams = make_cams(clip, split, preset.source, preset.template, device)
    height, width = split.images.shape[-2:]
    return seeds_from(cams, (height, width), preset.rule).to(torch.uint8)


def parameter_counts(model: WeakCLIP) -> dict[str, dict[str, int]]:
    """Parameters of each component and of the frozen towers: {"total", "trainable"}."""
    modules = {
        **model.components,
        "image tower": model.image_tower,
        "text tower": model.text_tower,
    }
    return {
        name: {
            "total": sum(p.numel() for p in module.parameters()),
            "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        }
        for name, module in modules.items()
    }


def _key(world: WorldConfig, seed: int, splits: Mapping[str, int]) -> str:
    text = repr((asdict(world), seed, sorted(splits.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[phase] = round(time.perf_counter() - start, 3)
