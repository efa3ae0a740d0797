"""The tasks of the presets: from images and tags to scored pseudo masks and predictions.

One training yields up to three tasks. `train-pseudo` scores the masks of training images,
restricted to their tags (allowed, because the tags are the supervision); `train-pseudo-crf` scores
them after the dense CRF. `val-network` scores a network on images without tags and without CRF:
the network that the row retrains on its masks, or else a refinement that needs no tags. A row with
neither has only the first two tasks; a row of the ground truth has only the last. A preset for
studies of components leaves out the CRF and the diagnosis, and also scores the score map.

Within a run nothing is chosen with pixel annotations: the schedule is fixed, the last step is used,
and thresholds follow a rule. `docs/reproduction.md` says how the settings themselves were chosen.

All presets share this code: `splits.py` opens the data, `fitting.py` fits, `scoring.py` scores, and
`weakclip/stages/method.py` has the method. This project has measured nothing on photographs: it has
neither VOC, COCO nor a CLIP of photographs. Tests run these presets on small data in the real
layouts.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.cartoon.world import WorldConfig
from bench.cartoon.write import FORMAT
from bench.errors import BenchError
from bench.runs.record import ANNOTATION, CONTENT
from bench.studies.method import MethodRow, outside_of
from bench.studies.preset import load_preset
from bench.studies.tags import shares_wrong
from bench.studies.workbench import Outcome, Tuned
from bench.tasks.annotation import annotation
from bench.tasks.counts import remove
from bench.tasks.fitting import Fitting, timed
from bench.tasks.identity import Digests, content_sha256, masks_sha256
from bench.tasks.scoring import MAIN_TASKS, ROLES, TASKS, Scoring
from bench.tasks.splits import (
    drawn_folder,
    given_maps,
    open_splits,
    places_in_train,
    redrawn_folder,
)
from weakclip.clip.load import load_clip
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.formats.from_files import FromFiles
from weakclip.description import describe
from weakclip.ops.confusion import boundary_width, miou
from weakclip.progress import silent
from weakclip.stages.images import Memory, WorkingImages
from weakclip.stages.words import setting_for
from weakclip.training.execution import REFERENCE, execution_for, full_float32, keep_heap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.studies.preset import Preset
    from bench.studies.tags import WrongTags
    from bench.studies.workbench import Config
    from bench.tasks.own import OwnImages
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.config import WeakCLIPConfig
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.stages.network import TrainedWeakCLIP
    from weakclip.training.execution import Execution, Precision
    from weakclip.training.recipe import Recipe

KEPT = 2 << 30
"""Size in bytes of the cache of features and CRF lattices. CartoonVOC needs 1.5 GiB; the images
are visited in order, so a cache that does not hold all of them is useless."""


def prepare(
    preset: str, *, data_root: Path | OwnImages | None, device: str, artifacts: Path,
    weights: Path | None = None, stages: Path | None = None, precision: Precision = "float32",
) -> ImageWorkbench:  # fmt: skip
    """Open the workbench of a preset; the first call makes the files it needs.

    This also switches off TF32 for convolutions and makes the process keep freed memory. Without
    `data_root` CartoonVOC is drawn below `artifacts`, the folder of everything that can be made
    again. Without `weights` the CLIP's are those of the package. `stages` is the folder with other
    micro-CLIPs, for a preset that names one of them. `precision` is that of training and inference
    of WeakCLIP's network; the rest is float32.

    Raises:
        BenchError: If the preset is unknown, or its data or weights are missing or not valid.
    """
    full_float32()
    keep_heap()
    place, found = torch.device(device), load_preset(preset)
    if found.clip_stage:
        if stages is None:
            raise BenchError(
                f"preset {preset!r}: expected --clip-stages, the folder that has {found.clip_stage}"
            )
        weights = stages / found.clip_stage
    return open_workbench(
        found, data_root, place, artifacts,
        weights=weights, execution=execution_for(place, precision),
    )  # fmt: skip


def open_workbench(
    preset: Preset, root: Path | OwnImages | None, device: torch.device, artifacts: Path,
    *, weights: Path | None = None, execution: Execution = REFERENCE,
) -> ImageWorkbench:  # fmt: skip
    """As `prepare`, for a preset that is given as a value."""
    try:
        splits = open_splits(preset, root, artifacts)
        if preset.maps:
            preset = replace(
                preset, maps=str(given_maps(preset, root if isinstance(root, Path) else None))
            )
        clip = load_clip(preset.clip, weights=weights, device=device)
        return ImageWorkbench(preset, splits, clip, artifacts, execution=execution)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BenchError(str(error)) from error


class ImageWorkbench:
    """Trains and scores methods with the images, frozen CLIP and protocol of a preset."""

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
            splits: Role -> images: `train`, `pseudo`, `val`, and `tune` for searches.
            clip: The frozen CLIP, on its device.
            artifacts: Folder of maps, seeds, training states and counts.
            execution: Precision, prefetching and compilation of training and inference.
            memory: Cache of features and lattices, which does not affect results; by default 2 GiB
                if the training images take less than an eighth of that, otherwise none.

        Raises:
            BenchError: If an image of a scored split has no annotated mask, no image of `train`
                has a tag, or one of `pseudo` is not in `train`.
        """
        self.preset, self.clip, self.artifacts = preset, clip, artifacts
        self.execution = execution
        places = places_in_train(preset, splits)
        pixels = 3 * preset.max_side**2 * len(splits["train"])
        if memory is None:
            memory = Memory(KEPT if pixels <= KEPT // 8 else 0)
        working = {
            id(files): WorkingImages(files, max_side=preset.max_side, patch=clip.patch_size)
            for files in splits.values()
        }
        self.images = {role: working[id(files)] for role, files in splits.items()}
        """Role of a split -> its images at working size."""
        self.setting = setting_for(
            clip, splits["train"].classes, preset.words,
            folder=artifacts, execution=execution, memory=memory,
        )  # fmt: skip
        """The frozen CLIP, class names and background words that a method may use."""
        self.class_names = ("background", *self.setting.class_names)
        self.fitting = Fitting(preset, self.images, self.setting)
        self.scoring = Scoring(preset, self.images, self.setting, places)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks; for a preset for studies of components, the main ones."""
        return self.scoring.tasks

    @property
    def protocol(self) -> dict[str, object]:
        """Settings of training and scoring, for records and captions."""
        preset = self.preset
        with_tags = {task: ROLES[task] == "pseudo" for task in self.tasks}
        found: dict[str, object] = {
            "splits": {task: preset.splits[ROLES[task]] for task in self.tasks},
            "trained_on": preset.splits["train"],
            "main_tasks": list(MAIN_TASKS),
            "tags_used": with_tags,
            "scales": list(preset.scales),
            "flip": preset.flip,
            "window": preset.framing.size,
            "largest_side": preset.max_side,
            "seeds": {**self._seed_maps, "rule": describe(preset.rule)},
            "words": {"template": preset.words.template},
            "thresholds_chosen_by": "rule without ground truth",
            "checkpoint_chosen_by": "last step",
            "recipe": asdict(preset.recipe),
            "crf": {"train-pseudo-crf": repr(preset.crf)} if preset.scoring == "full" else {},
            "views": {"per_image": preset.views, **asdict(preset.framing)},
            "tap_scale": describe(preset.config.tap_scale),
            **self.execution.arithmetic,
        }
        if preset.registered:
            found["registered"] = f"docs/preregistration.md of commit {preset.registered}"
        if preset.scoring == "components":
            found["score_map"] = "before and after training; tags as of the task beside it"
        if preset.generated is not None:
            side = preset.generated.world.size
            found["boundary_width_px"] = boundary_width(side, side)
        return found

    @property
    def _seed_maps(self) -> dict[str, object]:
        """Description of the maps from which WeakCLIP's seeds are made."""
        maps = self.preset.method(self.preset.config).maps
        source = maps if isinstance(maps, FromFiles) else self.preset.source
        found: dict[str, object] = describe(source)
        return found

    @cached_property
    def _given(self) -> dict[str, object]:
        """Number and hash of the ready-made maps of training images; empty if there are none."""
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
        """Hashes of the contents of all splits, without the masks of `train`.

        Empty for images that the preset draws: world and seed identify them, and the bytes of a PNG
        depend on the Pillow release.
        """
        files = {role: self.images[role].files for role in ("train", "pseudo", "val")}
        drawn = self.preset.generated
        if drawn is not None:
            folder = drawn_folder(drawn, self.artifacts)
            if files["train"].root.is_relative_to(folder):  # its JPEGImages
                return {}
        files["train"] = replace(files["train"], masks=(None,) * len(files["train"]))
        digests = Digests(self.artifacts)
        return {CONTENT: {role: content_sha256(each, digests) for role, each in files.items()}}

    @property
    def _annotation(self) -> dict[str, object]:
        """Hash of the masks on which a row of the ground truth is trained; empty if drawn."""
        train = self.images["train"]
        if not self._content:
            return {}
        return {ANNOTATION: masks_sha256(train.files, train.tagged, Digests(self.artifacts))}

    @property
    def data(self) -> dict[str, object]:
        """Data set, image counts and hashes of the image lists."""
        drawn = self.preset.generated
        world: dict[str, object] = (
            {} if drawn is None else {"world_seed": drawn.seed, "size_px": drawn.world.size}
        )
        if drawn is not None and drawn.world != WorldConfig(size=drawn.world.size):
            world["world"] = describe(drawn.world)
        if drawn is not None and drawn.redrawn:
            world["train"] = "redrawn for each seed"
        files = {role: self.images[role].files for role in ("train", "pseudo", "val")}
        return {
            "name": FORMAT if self.preset.data == "cartoon" else self.preset.data,
            **world,
            "images": {role: len(each) for role, each in files.items()},
            "list_sha256": {role: each.sha256 for role, each in files.items()},
            **self._content,
            **self._given,
        }

    @property
    def weights(self) -> dict[str, object]:
        """Name and hash of the frozen CLIP."""
        return {"id": self.clip.name, "sha256": self.clip.sha256}

    def run(self, config: Config, seed: int, *, report: Callable[[int, int], None]) -> Outcome:
        """Fit the method of a row, and score its masks and the predictions of its network."""
        if self.preset.generated is not None and self.preset.generated.redrawn:
            return self.redrawn(seed).run(config, seed, report=report)
        if isinstance(config, MethodRow) and config.tags is not None:
            return self._run_tagged(config.tags, replace(config, tags=None), seed, report)
        seconds: dict[str, float] = {}
        outside = outside_of(config)
        if outside is not None and outside.what == "masks":
            return self.scoring.score_outside(outside, seconds)
        key = self.key_of(config, seed)
        if isinstance(config, MethodRow) and config.is_supervised:
            network = self.fitting.supervised(config, seed, seconds, report)
            outcome = self.scoring.score(None, network, key, seconds)
            return replace(outcome, data=self._annotation)
        fitted = self.fitting.method(config, seed, seconds, report)
        outcome = self.scoring.score(fitted, fitted.segmenter, key, seconds)
        extras = self.scoring.score_maps(fitted, seed, seconds)
        write_masks = partial(self.scoring.write_masks, fitted)
        return replace(outcome, write_masks=write_masks, extras=extras)

    def redrawn(self, seed: int) -> ImageWorkbench:
        """A workbench with the training images of a seed; `forget_redrawn` removes its files."""
        assert self.preset.generated is not None
        folder = redrawn_folder(self.preset.generated, seed, self.artifacts)
        drawn = self.preset.generated.of_seed(seed)
        train = self.preset.splits["train"]
        roles = {role: name for role, name in self.preset.splits.items() if name == train}
        alone = replace(drawn, images={train: drawn.images[train]})
        fresh = open_splits(replace(self.preset, splits=roles, generated=alone), None, folder)
        return self._on(fresh, replace(self.preset, generated=alone), folder)

    def _on(
        self, changed: Mapping[str, TaggedFiles], preset: Preset, artifacts: Path
    ) -> ImageWorkbench:
        """A workbench in which some splits are others; it shares this one's memory."""
        files = {role: images.files for role, images in self.images.items()}
        return ImageWorkbench(
            preset, {**files, **changed}, self.clip, artifacts,
            execution=self.execution, memory=self.setting.memory,
        )  # fmt: skip

    def _run_tagged(
        self, wrong: WrongTags, row: MethodRow, seed: int, report: Callable[[int, int], None]
    ) -> Outcome:
        """Run a row with wrong tags of `train` and `pseudo`; all cache keys depend on the tags."""
        files = {role: self.images[role].files for role in ("train", "pseudo")}
        right = files["train"].image_labels
        changed = {
            id(each): replace(
                each, tags=wrong.applied(each.names, each.image_labels, right).numpy()
            )
            for each in files.values()
        }
        splits = {role: changed[id(each)] for role, each in files.items()}
        bench = self._on(splits, self.preset, self.artifacts)
        outcome = bench.run(row, seed, report=report)
        shares = shares_wrong(bench.images["train"].image_labels, right)
        measured = {f"{TASKS[0]}/{name}": share for name, share in shares.items()}
        return replace(outcome, extras={**outcome.extras, **measured})

    def run_on_tune(
        self,
        config: WeakCLIPConfig,
        recipe: Recipe,
        seed: int,
        *,
        report: Callable[[int, float], None] | None,
    ) -> Tuned:
        """Train on `train` and score on `tune`; see `bench.search.sweep.SearchWorkbench`.

        Without `report` the loss on held-out seeds is not computed.
        """
        seconds = dict[str, float]()
        maps = self.fitting.clip_maps("train")
        network = replace(self.preset, recipe=recipe).training(config).build(self.setting)
        network.reopens = False  # a search needs the losses during training
        watched = silent if report is None else self._watched(network, recipe, report)
        with timed(seconds, "fit"):
            network.fit(self.images["train"], maps, seed=seed, report=watched)
        counts = self.scoring.network_counts(network, "tune")
        remove(network.files)
        return Tuned(miou=float(miou(counts.sum(dim=0))), seconds=seconds["fit"])

    def _watched(
        self, network: TrainedWeakCLIP, recipe: Recipe, report: Callable[[int, float], None]
    ) -> Callable[[int, int], None]:
        """Reports the loss on the seeds of `tune` at every logged step of a training."""
        seeds = self.fitting.seeds("tune")
        images, _ = self.images["tune"].stack(seeds.indices, self.setting.device)
        held_out = torch.stack([seeds[place] for place in range(len(seeds))]).to(images.device)

        def watched(step: int, total: int) -> None:
            if step % recipe.log_every == 0 or step == total:
                report(step, network.held_out_loss(images, held_out))

        return watched

    def key_of(self, config: Config, seed: int) -> str:
        """Hash of everything that the counts of a run depend on."""
        images = [self.images[role].key for role in ("train", "pseudo", "val")]
        if isinstance(config, MethodRow) and config.is_supervised:
            masks = annotation(self.images["train"]).key
            described, modules = [describe(config), masks], {"bench.tasks.annotation"}
        else:
            method = self.preset.method(config)
            modules = {type(part).__module__ for part in (method.maps, method.refinement)}
            described = [describe(method), describe(outside_of(config))]
        return content_key(
            described, seed, images, self.setting.key, self.execution.arithmetic,
            *self._given.values(),
            code_id(*sorted(modules), __name__),
        )  # fmt: skip
