"""The tasks of the presets: from images and tags to scored pseudo masks and predictions.

Up to three tasks a run, all from one training: `train-pseudo` scores the masks of training images
restricted to their tags (allowed: the tags are the supervision), `train-pseudo-crf` the same after
the dense CRF, `val-network` what labels images without tags, alone and without CRF: the network
that the row retrains on its masks, else a refinement that needs no tags. A row with neither has the
first two, a row of the ground truth the last one alone. Within a run nothing is chosen on a pixel
annotation: fixed schedule, last step, thresholds by rule. What the settings it starts from were
chosen on is said in `docs/statistics.md`.

Every preset runs by this one file; what is done is `weakclip/stages/method.py`. Of photographs
nothing was ever measured by this project: it has neither VOC, COCO nor a CLIP of photographs. Tests
run those presets on small data in the real layouts.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.cartoon.wide.world import WideConfig
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import ensure_voc
from bench.errors import BenchError
from bench.runs.record import CONTENT
from bench.studies.method import MethodRow, outside_of
from bench.studies.preset import load_preset
from bench.studies.tags import shares_wrong
from bench.studies.workbench import Outcome, Tuned
from bench.tasks.annotation import annotation
from bench.tasks.counts import KeptCounts, remove
from bench.tasks.identity import Digests, content_sha256
from bench.tasks.known import KnownPixels
from bench.tasks.outside import mask_of, masks_in
from bench.tasks.own import OwnImages, part_of
from weakclip.clip.load import load_clip
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.build.coco import MASKS
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.read.coco import list_coco
from weakclip.data.read.names import output_stems
from weakclip.data.read.voc import list_voc
from weakclip.description import describe
from weakclip.masking.folder import write_labels
from weakclip.ops.confusion import boundary_width, class_counts, miou
from weakclip.stages.images import MEMORY, Memory, PerImage, WorkingImages
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.maps import ensure_maps
from weakclip.stages.method import Fitted, class_scores, fit_method, with_network
from weakclip.stages.retrain import RetrainedNetwork
from weakclip.stages.size import labels_at
from weakclip.stages.words import setting_for
from weakclip.training.execution import REFERENCE, execution_for, full_float32, keep_heap
from weakclip.training.memory import BatchSize, alike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from bench.studies.method import Outside
    from bench.studies.preset import Generated, Preset
    from bench.studies.tags import WrongTags
    from bench.studies.workbench import Config
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.config import WeakCLIPConfig
    from weakclip.crf.dense import CRFConfig
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.stages.kept_seeds import KeptSeeds
    from weakclip.stages.maps import SplitMaps
    from weakclip.stages.protocols import Segmenter
    from weakclip.training.execution import Execution, Precision
    from weakclip.training.recipe import Recipe

TASKS = ("train-pseudo", "train-pseudo-crf", "val-network")
MAIN_TASKS = ("train-pseudo", "val-network")
"""Those whose differences are tested, and that are diagnosed."""
WAY_OUT = "docs/data.md says where the files are published and how the folder is made"
BATCH = 50
"""Images scored together, unless memory holds fewer."""
COUNTED = 8
"""Masks counted together: as many at most are counted again after a crash."""


def prepare(
    preset: str, *, data_root: Path | OwnImages | None, device: str, artifacts: Path,
    weights: Path | None = None, precision: Precision = "float32",
) -> ImageWorkbench:  # fmt: skip
    """The workbench of a preset; what it needs on disk is made on the first call.

    From then on convolutions of this process are not rounded to TF32, and it keeps freed memory.

    Args:
        preset: A name that `bench.studies.preset` knows.
        data_root: Folder of the data set, or somebody's own images; absent: CartoonVOC is drawn
            below `artifacts`.
        device: `cpu` or `cuda`.
        artifacts: Folder for everything that can be made again.
        weights: File of the CLIP of photographs, for a preset that has one.
        precision: Of training and inference of WeakCLIP's network; the rest is in float32.

    Raises:
        BenchError: If the preset is unknown or the data or the weights are not what they claim.
    """
    full_float32()
    keep_heap()
    place, found = torch.device(device), load_preset(preset)
    drawn = found.generated
    if drawn is not None and isinstance(drawn.world, WideConfig) and weights is None:
        raise BenchError(
            f"preset {preset!r}: expected --weights, the folder of a micro-CLIP pretrained on the "
            "wide pool (python -m bench.cartoon.wide.pretrain); none is shipped yet"
        )
    return open_workbench(
        found, data_root, place, artifacts,
        weights=weights, execution=execution_for(place, precision),
    )  # fmt: skip


def open_workbench(
    preset: Preset, root: Path | OwnImages | None, device: torch.device, artifacts: Path,
    *, weights: Path | None = None, execution: Execution = REFERENCE,
) -> ImageWorkbench:  # fmt: skip
    """The workbench of a preset value; see `prepare`."""
    try:
        splits = open_splits(preset, root, artifacts)
        if preset.maps:
            preset = replace(
                preset, maps=str(_given_maps(preset, root if isinstance(root, Path) else None))
            )
        clip = load_clip(preset.clip, weights=weights, device=device)
        return ImageWorkbench(preset, splits, clip, artifacts, execution=execution)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BenchError(str(error)) from error


def open_splits(
    preset: Preset, root: Path | OwnImages | None, artifacts: Path
) -> dict[str, TaggedFiles]:
    """The lists of a data set by role; CartoonVOC is drawn if there is no folder of it.

    Raises:
        BenchError: If there is no folder, or a list has images that cannot be used.
        FileNotFoundError: If a list or a folder is missing.
        ValueError: If one is malformed.
    """
    drawn = preset.generated
    if root is None and drawn is None:
        what = "your images" if preset.data == "folder" else preset.data.upper()
        raise BenchError(
            f"preset {preset.name!r}: expected --data-root, the folder of {what}; {WAY_OUT}"
        )
    if preset.data == "folder" and root is not None:
        return (root if isinstance(root, OwnImages) else OwnImages(root=root)).splits()
    if isinstance(root, OwnImages):
        raise BenchError(
            f"preset {preset.name!r}: --tags, --masks, --classes and --val are of --preset folder; "
            "other data sets have places of their own for them"
        )
    if root is None and drawn is not None:
        root = _drawn_folder(drawn, artifacts)
        ensure_voc(root, drawn.world, seed=drawn.seed, splits=dict(drawn.images))
    assert root is not None
    opened = {split: _read(preset, root, split) for split in set(preset.splits.values())}
    return {role: opened[split] for role, split in preset.splits.items()}


def _given_maps(preset: Preset, root: Path | None) -> Path:
    """The folder of maps that others made.

    Raises:
        FileNotFoundError: If there is none.
    """
    folder = Path(preset.maps) if root is None else root / preset.maps
    if not folder.is_dir():
        raise FileNotFoundError(f"maps={preset.maps}: no such folder ({folder})")
    return folder


def _drawn_folder(drawn: Generated, artifacts: Path) -> Path:
    """Where a preset's own scenes are."""
    key = content_key(asdict(drawn.world), drawn.seed, dict(drawn.images))
    return artifacts / f"cartoonvoc-{key}"


def _read(preset: Preset, root: Path, split: str) -> TaggedFiles:
    """A split in the official layout: VOC's, or COCO's with masks by `weakclip data coco`."""
    if preset.data == "coco":
        annotations = root / "annotations" / f"instances_{split}.json"
        files = _annotated(list_coco(annotations, root / split, masks=root / MASKS))
    else:
        files = list_voc(root, split)
    if files.problems:
        first = files.problems[0]
        raise BenchError(
            f"split {split!r}: {len(files.problems)} of its images cannot be used, first "
            f"{first.name}: {first.reason}; {WAY_OUT}"
        )
    return files


def _annotated(files: TaggedFiles) -> TaggedFiles:
    """The images with an annotation, on which weakly-supervised methods are trained and scored."""
    return part_of(files, files.image_labels.any(dim=1).nonzero()[:, 0].tolist())


class ImageWorkbench:
    """A preset's images, frozen CLIP and protocol, and how a run uses them."""

    tasks = TASKS

    def __init__(
        self,
        preset: Preset,
        splits: Mapping[str, TaggedFiles],
        clip: CLIPBundle,
        artifacts: Path,
        *,
        execution: Execution = REFERENCE,
        memory: Memory | None = None,
    ) -> None:
        """Take opened data; no image is read yet.

        Args:
            preset: The protocol.
            splits: `train` (trained on), `pseudo` (its masks are scored), `val`, and `tune` for
                searches.
            clip: The frozen CLIP, on its device.
            artifacts: Folder of maps, seeds, states of training and counts.
            execution: How the network is trained and applied.
            memory: What this process keeps of features and lattices; by default a gibibyte if
                the training images take less than a quarter of it, and else nothing. It changes
                no number.

        Raises:
            BenchError: If an image of a scored split has no annotated mask, no image of `train`
                has a tag, or one of `pseudo` is not in `train`.
        """
        self.preset, self.clip, self.artifacts = preset, clip, artifacts
        self.execution = execution
        for role in ("pseudo", "val"):
            files = splits[role]
            bare = [image for image, mask in zip(files.names, files.masks, strict=True) if not mask]
            if bare:
                raise BenchError(
                    f"split {preset.splits[role]!r}: expected a mask of every image, got none of "
                    f"{len(bare)} of {len(files)}, first {bare[0]}; see `weakclip check`"
                )
        if not splits["train"].image_labels.any():
            raise BenchError(f"split {preset.splits['train']!r}: no image has a tag")
        where = {name: index for index, name in enumerate(splits["train"].names)}
        strange = [name for name in splits["pseudo"].names if name not in where]
        if strange:
            raise BenchError(
                f"split {preset.splits['pseudo']!r}: expected images of "
                f"{preset.splits['train']!r}, which have maps; got {strange[0]} and "
                f"{len(strange) - 1} more that are not in it"
            )
        self._place_in_train = [where[name] for name in splits["pseudo"].names]
        pixels = 3 * preset.max_side**2 * len(splits["train"])
        if memory is None:
            memory = Memory(MEMORY if pixels <= MEMORY // 4 else 0)
        working = {
            id(files): WorkingImages(files, max_side=preset.max_side, patch=clip.patch_size)
            for files in splits.values()
        }
        self.images = {role: working[id(files)] for role, files in splits.items()}
        """Role of a split to its images at working size."""
        self.setting = setting_for(
            clip, splits["train"].classes, preset.words,
            folder=artifacts, execution=execution, memory=memory,
        )  # fmt: skip
        """What a method may know in addition to images and tags."""
        self.class_names = ("background", *self.setting.class_names)

    @property
    def protocol(self) -> dict[str, object]:
        """How the numbers are made."""
        preset = self.preset
        scored = tuple(preset.splits[role] for role in ("pseudo", "pseudo", "val"))
        found: dict[str, object] = {
            "splits": dict(zip(TASKS, scored, strict=True)),
            "trained_on": preset.splits["train"],
            "main_tasks": list(MAIN_TASKS),
            "tags_used": {"train-pseudo": True, "train-pseudo-crf": True, "val-network": False},
            "scales": list(preset.scales),
            "flip": preset.flip,
            "window": preset.framing.size,
            "largest_side": preset.max_side,
            "seeds": {**self._seed_maps, "rule": describe(preset.rule)},
            "words": {"template": preset.words.template},
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "recipe": asdict(preset.recipe),
            "crf": {"train-pseudo-crf": repr(preset.crf)},
            "views": {"per_image": preset.views, **asdict(preset.framing)},
            "tap_scale": describe(preset.config.tap_scale),
            **self.execution.arithmetic,
        }
        if preset.generated is not None:
            side = preset.generated.world.size
            found["boundary_width_px"] = boundary_width(side, side)
        return found

    @property
    def _seed_maps(self) -> dict[str, object]:
        """What WeakCLIP's seeds are made from."""
        maps = self.preset.method(self.preset.config).maps
        found: dict[str, object] = describe(
            maps if isinstance(maps, FromFiles) else self.preset.source
        )
        return found

    @cached_property
    def _given(self) -> dict[str, object]:
        """Number and bytes of the maps of training images that others made; none without any."""
        maps = self.preset.method(self.preset.config).maps
        if not isinstance(maps, FromFiles):
            return {}
        digests, files, found = Digests(self.artifacts), maps.files(), hashlib.sha256()
        paths = [files.find(name) for name in self.images["train"].files.names]
        there = [path for path in paths if path is not None]
        for path in there:
            found.update(f"{path.name} {digests.of(path)}\n".encode(errors="surrogatepass"))
        digests.save()
        return {"maps": {"count": len(there), "sha256": found.hexdigest()}}

    @cached_property
    def _content(self) -> dict[str, object]:
        """Hashes of what the files hold; nothing looks at the masks of `train`.

        Of scenes that the preset draws there are none: world and seed identify them, and the
        bytes of a PNG depend on the release of Pillow.
        """
        files = {role: self.images[role].files for role in ("train", "pseudo", "val")}
        drawn = self.preset.generated
        if drawn is not None:
            folder = _drawn_folder(drawn, self.artifacts)
            if files["val"].root.is_relative_to(folder):  # its JPEGImages
                return {}
        files["train"] = replace(files["train"], masks=(None,) * len(files["train"]))
        digests = Digests(self.artifacts)
        return {CONTENT: {role: content_sha256(each, digests) for role, each in files.items()}}

    @property
    def data(self) -> dict[str, object]:
        """Data set, image counts and hashes of the image lists."""
        drawn = self.preset.generated
        world = {} if drawn is None else {"world_seed": drawn.seed, "size_px": drawn.world.size}
        if drawn is not None and drawn.world != WorldConfig(size=drawn.world.size):
            world["world"] = describe(drawn.world)
        files = {role: self.images[role].files for role in ("train", "pseudo", "val")}
        return {
            "name": "CartoonVOC" if self.preset.data == "cartoon" else self.preset.data,
            **world,
            "images": {role: len(each) for role, each in files.items()},
            "list_sha256": {role: each.sha256 for role, each in files.items()},
            **self._content,
            **self._given,
        }

    @property
    def weights(self) -> dict[str, object]:
        """Which frozen CLIP."""
        return {"id": self.clip.name, "sha256": self.clip.sha256}

    def run(self, config: Config, seed: int, *, report: Callable[[int, int], None]) -> Outcome:
        """Fit the method of a row on the tags, and score its masks and its own predictions."""
        if isinstance(config, MethodRow) and config.tags is not None:
            return self._run_tagged(config.tags, replace(config, tags=None), seed, report)
        seconds: dict[str, float] = {}
        if isinstance(config, MethodRow) and config.is_supervised:
            network = self._supervised(config, seed, seconds, report)
            return self._outcome(None, network, self._key(config, seed), seconds)
        outside = outside_of(config)
        if outside is not None and outside.what == "masks":
            return self._score_outside(outside, seconds)
        fitted = self.fitted(config, seed, seconds, report)
        outcome = self.score(fitted, self._key(config, seed), seconds)
        return replace(outcome, write_masks=partial(self.write_masks, fitted))

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

    def _run_tagged(
        self, wrong: WrongTags, row: MethodRow, seed: int, report: Callable[[int, int], None]
    ) -> Outcome:
        """Run a row with mistakes in the tags of `train` and `pseudo`, hence in all keys."""
        files = {role: images.files for role, images in self.images.items()}
        right = files["train"].image_labels
        changed = {
            id(each): replace(
                each, image_labels=wrong.applied(each.names, each.image_labels, right)
            )
            for each in (files["train"], files["pseudo"])
        }
        for role in ("train", "pseudo"):
            files[role] = changed[id(files[role])]
        bench = ImageWorkbench(
            self.preset, files, self.clip, self.artifacts,
            execution=self.execution, memory=self.setting.memory,
        )  # fmt: skip
        outcome = bench.run(row, seed, report=report)
        shares = shares_wrong(bench.images["train"].image_labels, right)
        measured = {f"{TASKS[0]}/{name}": share for name, share in shares.items()}
        return replace(outcome, extras={**outcome.extras, **measured})

    def score(self, fitted: Fitted, key: str, seconds: dict[str, float]) -> Outcome:
        """Score the masks of a fitted method and, if it can label without tags, its predictions.

        Args:
            fitted: The method.
            key: Of all that its counts depend on; a scoring that was stopped goes on under it.
            seconds: What fitting took, by phase.
        """
        return self._outcome(fitted, fitted.segmenter, key, seconds)

    def _outcome(
        self, fitted: Fitted | None, network: Segmenter | None, key: str, seconds: dict[str, float]
    ) -> Outcome:
        """Scores of what there is: the masks of a method, the predictions of a network."""
        roles = dict(zip(TASKS, ("pseudo", "pseudo", "val"), strict=True))
        kept = {
            task: KeptCounts(
                self.artifacts / "counts" / f"{key}-{task}.bin",
                len(self.images[role]),
                len(self.class_names),
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
            parameters=self.sizes(fitted) if fitted is not None else _sizes_of(network),
            seconds=seconds,
            curve=[row for part in parts for row in getattr(part, "curve", ())],
            discard=lambda: remove(leftovers),
        )

    def fitted(
        self,
        config: Config,
        seed: int,
        seconds: dict[str, float],
        report: Callable[[int, int], None],
    ) -> Fitted:
        """The method of a row, fitted on `train`; what it took is added to `seconds`."""
        method, train = self.preset.method(config), self.images["train"]

        def tell(_stage: str, done: int, total: int) -> None:
            report(done, total)

        with timed(seconds, "fit"):
            first = replace(method, retraining=None)
            fitted = fit_method(first, self.setting, train, seed=seed, report=tell)
        train.check()
        seconds["maps"] = fitted.maps.seconds
        if method.retraining is not None:
            with timed(seconds, "retrain"):
                fitted = with_network(method, fitted, self.setting, train, seed=seed, report=tell)
        return fitted

    def _supervised(
        self,
        row: MethodRow,
        seed: int,
        seconds: dict[str, float],
        report: Callable[[int, int], None],
    ) -> RetrainedNetwork:
        """The network of a row trained on the annotated masks of `train`."""
        retraining = self.preset.retrained_by(row)
        assert retraining is not None
        network = retraining.build(
            len(self.class_names), self.setting.device,
            folder=self.artifacts, execution=self.execution,
        )  # fmt: skip
        with timed(seconds, "retrain"):
            train = self.images["train"]
            network.fit(train, annotation(train), seed=seed, report=report)
        return network

    def sizes(self, fitted: Fitted) -> dict[str, dict[str, int]]:
        """Parameters of the parts of a method by component."""
        return {
            **fitted.maps.parameters,
            **fitted.refinement.parameter_counts(),
            **_sizes_of(fitted.network),
        }

    def clip_maps(self, role: str) -> SplitMaps:
        """The maps of the frozen CLIP that WeakCLIP's seeds are made from."""
        maps = self.preset.method(self.preset.config).maps
        return ensure_maps(maps, self.setting, self.images[role], seed=0, report=_silent)

    def seeds(self, role: str) -> KeptSeeds:
        """The seeds of the tagged images of a split."""
        return ensure_seeds(self.clip_maps(role), self.images[role], self.preset.rule, self.setting)

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

    def masks(
        self,
        fitted: Fitted,
        role: str,
        indices: Iterable[int],
        finishes: Sequence[CRFConfig | None] = (None,),
    ) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Labels at the size of the annotated mask, restricted to the tags, one for each finish."""
        data, pseudo = self.images[role], role == "pseudo"
        maps = _Chosen(fitted.maps, self._place_in_train) if pseudo else fitted.maps
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

    def run_on_tune(
        self,
        config: WeakCLIPConfig,
        recipe: Recipe,
        seed: int,
        *,
        report: Callable[[int, float], None],
    ) -> Tuned:
        """Train on `train` and score on `tune`; see `bench.search.sweep.SearchWorkbench`."""
        tune, seconds = self.images["tune"], dict[str, float]()
        maps = self.clip_maps("train")
        images, _ = tune.stack(range(len(tune)), self.setting.device)
        seeds = self.seeds("tune")
        held_out = torch.stack([seeds[place] for place in range(len(seeds))])
        images = images[list(seeds.indices)]
        network = replace(self.preset, recipe=recipe).training(config).build(self.setting)
        network.reopens = False  # the search watches it being trained

        def watched(step: int, total: int) -> None:
            if step % recipe.log_every == 0 or step == total:
                report(step, network.held_out_loss(images, held_out.to(images.device)))

        with timed(seconds, "fit"):
            network.fit(self.images["train"], maps, seed=seed, report=watched)
        counts = self._network_counts(network, "tune")
        remove(network.files)
        return Tuned(miou=float(miou(counts.sum(dim=0))), seconds=seconds["fit"])

    def _network_counts(self, network: Segmenter, role: str) -> Tensor:
        """(N, K, 3) of a network alone, without tags."""
        data = self.images[role]
        rows: dict[int, Tensor] = {}
        for group in data.groups(range(len(data)), BATCH):
            masks = self._predictions(network, role, group)
            for index, mask, truth in zip(group, masks, self.truth(role, group), strict=True):
                rows[index] = class_counts(mask[None], truth[None], len(self.class_names))[0]
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

    def _key(self, config: Config, seed: int) -> str:
        """Hash of all that the counts of a run depend on."""
        images = [self.images[role].key for role in ("train", "pseudo", "val")]
        if isinstance(config, MethodRow) and config.is_supervised:
            described, modules = describe(config), {"bench.tasks.annotation"}
        else:
            method = self.preset.method(config)
            modules = {type(part).__module__ for part in (method.maps, method.refinement)}
            described = [describe(method), describe(outside_of(config))]
        return content_key(
            described, seed, images, self.setting.key, self.execution.arithmetic,
            *self._given.values(),
            code_id(*sorted(modules), __name__),
        )  # fmt: skip

    def _score_pseudo(
        self, fitted: Fitted, plain: KeptCounts, smooth: KeptCounts, seconds: dict[str, float]
    ) -> None:
        """Count masks of `pseudo` before and after the CRF, image by image."""
        missing = sorted({*plain.missing, *smooth.missing})
        found = self.masks(fitted, "pseudo", missing, (None, self.preset.crf))
        with timed(seconds, "score"):
            self._count("pseudo", found, (plain, smooth))

    def _score_outside(self, outside: Outside, seconds: dict[str, float]) -> Outcome:
        """Count masks that others made of the images of `pseudo`; 255 is a missed pixel."""
        data = self.images["pseudo"]
        key = content_key(describe(outside), data.key, code_id(__name__))
        kept = KeptCounts(
            self.artifacts / "counts" / f"{key}-{TASKS[0]}.bin", len(data), len(self.class_names),
            self._known(None),
        )  # fmt: skip
        masks = masks_in(outside.folder)
        found = (
            (index, (torch.from_numpy(mask_of(masks, data.files, index)).long(),))
            for index in kept.missing
        )
        with timed(seconds, "score"):
            self._count("pseudo", found, (kept,))
        counted = _counted({TASKS[0]: kept})
        return replace(counted, seconds=seconds, discard=lambda: remove((kept.path,)))

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

    def _known(self, fitted: Fitted | None) -> KnownPixels:
        """What is known of `pseudo`; the seeds are of the method's maps by the preset's rule."""
        files, train = self.images["pseudo"].files, self.images["train"]
        if fitted is None:
            return KnownPixels(files)
        seeds = ensure_seeds(fitted.maps, train, self.preset.rule, self.setting)
        return KnownPixels(files, seeds, self._place_in_train)

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


def _sizes_of(network: Segmenter | None) -> dict[str, dict[str, int]]:
    """Parameters of a retrained network, under names of their own; none of another segmenter."""
    if not isinstance(network, RetrainedNetwork):
        return {}
    return {f"retrained {name}": sizes for name, sizes in network.parameter_counts().items()}


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


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Add the wall-clock time of a block to a phase."""
    start = time.perf_counter()
    yield
    seconds[phase] = round(seconds.get(phase, 0.0) + time.perf_counter() - start, 3)


def _silent(done: int, total: int) -> None:
    """Say nothing."""
