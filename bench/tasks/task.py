"""The tasks of the presets: from images and tags to scored pseudo masks and predictions.

Three tasks per run of WeakCLIP, all from one training: `train-pseudo` scores the network's masks
on `train` restricted to the known tags (allowed: the tags are the supervision),
`train-pseudo-crf` the same after the dense CRF, `val-network` the network alone on `val`, without
tags and without CRF. A `Method` has the first two. Nothing is chosen on a pixel annotation: fixed
schedule, last step, thresholds by rule.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.vocabulary import BACKGROUND_WORDS, DISPLAY_NAMES
from bench.cartoon.write import ensure_voc
from bench.errors import BenchError
from bench.runs.provenance import code_id
from bench.studies.method import Method
from bench.studies.preset import PhotoPreset, load_preset
from bench.studies.workbench import Tuned
from bench.tasks.bank import Bank, BankBatches, BankSpec, ensure_bank
from bench.tasks.maps import CHUNK, ensure_maps, fit_refinement, refined_scores
from bench.tasks.measured import TASKS, Measured, parameter_counts, timed
from bench.tasks.photo import PhotoWorkbench, open_photos
from bench.tasks.split import Split, read_split, tensors_sha256
from weakclip.clip.load import load_clip
from weakclip.config import SeedAndBoundary, WeakCLIPConfig
from weakclip.crf.dense import build_lattices, dense_crf
from weakclip.network.build import build_model
from weakclip.network.checkpoints import describe
from weakclip.ops.confusion import boundary_width, class_counts, miou
from weakclip.stages.protocols import Setting
from weakclip.stages.seeds import class_activation_maps, encode_texts, seeds_from
from weakclip.training.execution import REFERENCE, execution_for, full_float32
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision, logits_on_grid, seeding_loss, seeds_on_grid
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from bench.cartoon.world import WorldConfig
    from bench.studies.preset import Preset
    from bench.studies.workbench import Outcome
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import Features, ImageTower
    from weakclip.crf.dense import Lattices
    from weakclip.network.model import WeakCLIP
    from weakclip.stages.seeds import CAMSource
    from weakclip.training.execution import Execution, Precision
    from weakclip.training.recipe import Recipe

IN_CACHE = 5
"""Images whose class scores at image size the processor's cache holds."""


def prepare(
    preset: str, *, data_root: Path | None, device: str, artifacts: Path,
    weights: Path | None = None, precision: Precision = "float32",
) -> CartoonWorkbench | PhotoWorkbench:  # fmt: skip
    """The workbench of a preset; what it needs on disk is made on the first call.

    From then on convolutions of this process are not rounded to TF32.

    Args:
        preset: A name that `bench.studies.preset` knows.
        data_root: An existing data set in VOC layout with the splits `train` and `val`; absent:
            CartoonVOC below `artifacts`.
        device: `cpu` or `cuda`.
        artifacts: Folder for everything that can be made again.
        weights: File of the CLIP of photographs, for a preset that has one.
        precision: Of WeakCLIP's network, trained and asked; the rest is in float32.

    Raises:
        BenchError: If the preset is unknown or the data or the weights are not what they claim.
    """
    chosen = load_preset(preset)
    full_float32()
    place, how = torch.device(device), execution_for(torch.device(device), precision)
    try:
        if isinstance(chosen, PhotoPreset):
            return open_photos(chosen, data_root, weights, place, artifacts, execution=how)
        return CartoonWorkbench(chosen, data_root, place, artifacts, execution=how)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BenchError(str(error)) from error


class CartoonWorkbench:
    """Data, frozen CLIP, seeds and frozen features of a preset, and how a run uses them."""

    tasks = TASKS
    class_names = ("background", *DISPLAY_NAMES)

    def __init__(
        self,
        preset: Preset,
        data_root: Path | None,
        device: torch.device,
        artifacts: Path,
        *,
        execution: Execution = REFERENCE,
    ) -> None:
        """Read the data and make the seeds."""
        self.preset, self.device, self.artifacts = preset, device, artifacts
        self.execution = execution
        self.clip = load_clip(preset.clip, device=device)
        root = data_root
        if root is None:
            root = artifacts / f"cartoonvoc-{_key(preset.world, preset.world_seed, preset.splits)}"
            ensure_voc(root, preset.world, seed=preset.world_seed, splits=dict(preset.splits))
        self.root = root
        self._kept: dict[tuple[object, ...], tuple[Bank, Features]] = {}
        self._train_lattices: dict[int, Lattices] = {}

    @property
    def protocol(self) -> dict[str, object]:
        """How the numbers are made."""
        return {
            "splits": dict(zip(TASKS, ("train", "train", "val"), strict=True)),
            "main_tasks": ["train-pseudo", "val-network"],
            "tags_used": {"train-pseudo": True, "train-pseudo-crf": True, "val-network": False},
            "scales": [1.0],
            "flip": False,
            "seeds": {**describe(self.preset.source), "rule": describe(self.preset.rule)},
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "recipe": asdict(self.preset.recipe),
            "crf": {"train-pseudo-crf": repr(self.preset.crf)},
            "views": {"per_image": self.preset.views, **asdict(self.preset.framing)},
            "boundary_width_px": boundary_width(*self.train.size),
            **self.execution.arithmetic,
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

    @cached_property
    def tune(self) -> Split:
        """The split of searches, which no table reports."""
        return read_split(self.root, "tune")

    @cached_property
    def tune_seeds(self) -> Tensor:
        """Seed labels of `tune`, (N, H, W), uint8."""
        return make_seeds(self.clip, self.tune, self.preset, self.device)

    def run(
        self, config: WeakCLIPConfig | Method, seed: int, *, report: Callable[[int, int], None]
    ) -> Outcome:
        """Score the masks of one configuration after training it on the tags."""
        match config:
            case WeakCLIPConfig():
                return self._run_weakclip(config, seed, report)
            case Method():
                return self._run_method(config, seed, report)

    def _run_weakclip(
        self, config: WeakCLIPConfig, seed: int, report: Callable[[int, int], None]
    ) -> Outcome:
        scores = Measured(self.class_names)
        with timed(scores.seconds, "prepare"):
            bank, val_features = self.features(config)
        model, curve = self._train(config, bank, seed, scores.seconds, report)
        self._score_pseudo(scores, self._probabilities(model, bank.plain()))
        with timed(scores.seconds, "infer"):
            labels = [hard_labels(chunk) for chunk in self._probabilities(model, val_features)]
        scores.add("val-network", torch.cat(labels), self.val.gt_masks)
        return scores.outcome(parameter_counts(model), curve)

    def _run_method(self, method: Method, seed: int, report: Callable[[int, int], None]) -> Outcome:
        scores = Measured(self.class_names)
        setting, data = self.setting, self.train.tagged
        maps = ensure_maps(
            method.cam, setting, data, seed=seed, folder=self.artifacts, report=report
        )
        scores.seconds["cam"] = maps.seconds
        curve: list[dict[str, float]] = []
        if isinstance(method.refinement, WeakCLIPConfig):
            seeds = seeds_from(maps.cams, self.train.size, self.preset.rule).to(torch.uint8)
            with TemporaryDirectory(dir=self.artifacts) as folder:
                with timed(scores.seconds, "prepare"):
                    bank = self._bank(method.refinement, seeds, Path(folder))
                model, curve = self._train(method.refinement, bank, seed, scores.seconds, report)
                self._score_pseudo(scores, self._probabilities(model, bank.plain()))
            sizes = parameter_counts(model)
        else:
            with timed(scores.seconds, "refine"):
                refined, sizes = fit_refinement(
                    method.refinement, setting, data, maps.cams, seed=seed, report=report
                )
            self._score_pseudo(scores, refined_scores(refined, setting, data, maps.cams))
        return scores.outcome({**maps.parameters, **sizes}, curve)

    @property
    def setting(self) -> Setting:
        """What a method may know beside images and tags."""
        return Setting(
            clip=self.clip,
            class_names=DISPLAY_NAMES,
            background_words=BACKGROUND_WORDS,
            device=self.device,
        )

    def features(self, config: WeakCLIPConfig) -> tuple[Bank, Features]:
        """Frozen features of the training views, and of `val`."""
        key = (config.taps, config.class_token, _loss_grid(config))
        if key not in self._kept:
            bank = self._bank(config, self.seeds, self.artifacts)
            self._kept[key] = (bank, self._standard_features(config, bank, self.val))
        return self._kept[key]

    def _standard_features(self, config: WeakCLIPConfig, bank: Bank, split: Split) -> Features:
        images = split.images.to(self.device)
        features = self._tower(config)(normalise_images(images, self.clip.mean, self.clip.std))
        return bank.standardise(features)

    def _tower(self, config: WeakCLIPConfig) -> ImageTower:
        return self.clip.image.configured(taps=config.taps, class_token=config.class_token)

    def _bank(self, config: WeakCLIPConfig, seeds: Tensor, folder: Path) -> Bank:
        if config.drop_path:
            raise ValueError("drop_path: features of a tower with drop path cannot be kept")
        spec, tower = self._bank_spec(config, seeds), self._tower(config)
        return ensure_bank(folder, spec, self.train.images, seeds, self.clip, tower)

    def _bank_spec(self, config: WeakCLIPConfig, seeds: Tensor) -> BankSpec:
        return BankSpec(
            images_sha256=tensors_sha256(self.train.images, seeds),
            clip_sha256=self.clip.sha256,
            taps=config.taps,
            class_token=config.class_token,
            grid=_loss_grid(config),
            views=self.preset.views,
            framing=self.preset.framing,
            seed=self.preset.world_seed,
        )

    def _train(
        self,
        config: WeakCLIPConfig,
        bank: Bank,
        seed: int,
        seconds: dict[str, float],
        report: Callable[[int, int], None],
    ) -> tuple[WeakCLIP, list[dict[str, float]]]:
        """Train, from the last state if a training of the same was interrupted."""
        model, recipe = self._network(config, seed), self.preset.recipe
        parts = [describe(config), asdict(recipe), seed, bank.key, str(self.device), code_id()]
        parts += sorted(self.execution.arithmetic.items())
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        state = self.artifacts / "training" / f"{key}.pt"
        with timed(seconds, "train"):
            curve = self._fit(model, config, recipe, bank, seed, report, state)
        state.unlink(missing_ok=True)
        return model, curve

    def _network(self, config: WeakCLIPConfig, seed: int) -> WeakCLIP:
        torch.manual_seed(seed)
        return build_model(config, self.clip, self.class_names, seed=seed)

    def _fit(
        self,
        model: WeakCLIP,
        config: WeakCLIPConfig,
        recipe: Recipe,
        bank: Bank,
        seed: int,
        report: Callable[[int, int], None],
        state: Path | None = None,
    ) -> list[dict[str, float]]:
        spec = config.supervision
        batches = BankBatches(
            bank,
            batch_size=recipe.batch_size,
            seed=seed,
            crf=spec.crf if isinstance(spec, SeedAndBoundary) else None,
        )
        supervision = build_supervision(spec, config.tau)
        return fit(
            model, supervision, batches, recipe, report=report, resume=state,
            execution=self.execution,
        )  # fmt: skip

    def run_on_tune(
        self,
        config: WeakCLIPConfig,
        recipe: Recipe,
        seed: int,
        *,
        report: Callable[[int, float], None],
    ) -> Tuned:
        """Train on `train` and score on `tune`; see `bench.search.sweep.SearchWorkbench`."""
        tune, bank = self.tune, self.features(config)[0]
        size = (_loss_grid(config), _loss_grid(config))
        seeds = self.tune_seeds.long().to(self.device)
        features = self._standard_features(config, bank, tune)
        model = self._network(config, seed)
        seconds: dict[str, float] = {}

        def told(step: int, total: int) -> None:
            if step % recipe.log_every and step != total:
                return
            model.eval()
            with torch.no_grad():
                with self.execution.autocast(self.device):
                    output = model(features)
                logits = logits_on_grid(output.logits, size)
                report(step, float(seeding_loss(logits, seeds_on_grid(seeds, size))))
            model.train()

        with timed(seconds, "train"):
            self._fit(model, config, recipe, bank, seed, told)
        labels = [hard_labels(chunk) for chunk in self._probabilities(model.eval(), features)]
        counts = class_counts(torch.cat(labels), tune.gt_masks, len(self.class_names))
        return Tuned(miou=float(miou(counts.sum(dim=0))), seconds=seconds["train"])

    @torch.no_grad()
    def _probabilities(self, model: WeakCLIP, features: Features) -> Iterator[Tensor]:
        """Class probabilities at image size, (n, K, H, W), of some images after the other."""
        text = model.text()
        for start in range(0, len(features.global_embedding), CHUNK):
            rows = features.select(slice(start, start + CHUNK))
            with self.execution.autocast(self.device):
                logits = model(rows, text=text).logits
            yield torch.cat([
                F.interpolate(part, self.train.size, mode="bilinear", align_corners=False)
                .softmax(dim=1)
                .cpu()
                for part in torch.split(logits, IN_CACHE)
            ])  # fmt: skip

    def _score_pseudo(self, scores: Measured, class_scores: Iterable[Tensor]) -> None:
        """Score masks of `train` from class scores (n, K, H, W), before and after the CRF."""
        known = F.pad(self.train.image_labels, (1, 0), value=True)
        masks: list[Tensor] = []
        refined: list[Tensor] = []
        with timed(scores.seconds, "infer"):
            for number, chunk in enumerate(class_scores):
                rows = slice(number * CHUNK, number * CHUNK + len(chunk))
                possible = chunk * known[rows, :, None, None]
                masks.append(hard_labels(possible))
                with timed(scores.seconds, "crf"):
                    refined.append(self._refine(possible, known, rows))
        scores.seconds["infer"] -= scores.seconds["crf"]
        scores.add("train-pseudo", torch.cat(masks), self.train.gt_masks)
        scores.add("train-pseudo-crf", torch.cat(refined), self.train.gt_masks)

    def _refine(self, class_scores: Tensor, known: Tensor, rows: slice) -> Tensor:
        """Labels after the dense CRF on the tagged classes, (n, H, W); lattices are kept."""
        images = self.train.images[rows].to(self.device)
        if rows.start not in self._train_lattices:
            self._train_lattices[rows.start] = build_lattices(images, self.preset.crf)
        marginals = dense_crf(
            images,
            class_scores.to(self.device),
            self.preset.crf,
            present=known[rows],
            lattices=self._train_lattices[rows.start],
        )
        return hard_labels(marginals).cpu()


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
            torch.split(split.images, CHUNK), torch.split(split.image_labels, CHUNK), strict=True
        )
    ]
    return torch.cat(parts)


def make_seeds(clip: CLIPBundle, split: Split, preset: Preset, device: torch.device) -> Tensor:
    """Seed labels of a split, (N, H, W), uint8."""
    cams = make_cams(clip, split, preset.source, preset.template, device)
    return seeds_from(cams, split.size, preset.rule).to(torch.uint8)


def hard_labels(scores: Tensor) -> Tensor:
    """The class of the largest score, the first of equals: (B, K, H, W) -> (B, H, W), int64.

    The same as `argmax`, which takes 2.5 times as long along an inner axis on a CPU.
    """
    return scores.max(dim=1).indices


def _key(world: WorldConfig, seed: int, splits: Mapping[str, int]) -> str:
    text = repr((asdict(world), seed, sorted(splits.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _loss_grid(config: WeakCLIPConfig) -> int:
    return config.supervision.grid if isinstance(config.supervision, SeedAndBoundary) else 32
