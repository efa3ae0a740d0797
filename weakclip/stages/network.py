"""WeakCLIP as a refinement: trained on seeds of any method's maps, then applied to any image."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from weakclip.config import PAPER, SeedAndBoundary, WeakCLIPConfig
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.atomic import write_text
from weakclip.description import describe
from weakclip.network.build import build_model
from weakclip.network.checkpoints import ModelCard, load_components, save_components
from weakclip.network.taps import set_statistics
from weakclip.ops.parameters import count_parameters
from weakclip.stages.images import bytes_key
from weakclip.stages.inference import SCALES, multi_scale_probabilities
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.refine import known_labels
from weakclip.stages.seeds import OtsuBand, SeedRule
from weakclip.stages.size import FEWEST_PATCHES
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision, logits_on_grid, seeding_loss, seeds_on_grid
from weakclip.training.memory import is_out_of_memory
from weakclip.training.recipe import Recipe
from weakclip.training.resume import is_damaged
from weakclip.training.stream import ViewSpec, ViewStream
from weakclip.training.views import Framing, normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.tower import Features
    from weakclip.network.model import WeakCLIP
    from weakclip.progress import Report
    from weakclip.stages.kept_seeds import Seeds
    from weakclip.stages.protocols import Setting, TaggedImages

logger = logging.getLogger(__name__)

BANK_BYTES = 4 << 30
"""If the views of a training set take at most this, they are kept on disk for all rows of a
study."""
_OTHER_GRID = 32  # side of the views' small images if no loss uses them


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededTraining:
    """WeakCLIP trained on seeds; a `weakclip.stages.protocols.RefinementSpec`."""

    config: WeakCLIPConfig = PAPER
    recipe: Recipe = Recipe()
    rule: SeedRule = OtsuBand()
    framing: Framing = Framing()
    views: int = 4
    """Views per image: the whole image, its mirror image, the others framed at random."""
    view_seed: int = 0
    """Seed of the random framings."""
    scales: tuple[float, ...] = SCALES
    flip: bool = True
    """Whether the mirror image is used as well."""
    tile: int = 512
    """Side of the windows into which a large image is divided, in pixels of the working size."""

    def __post_init__(self) -> None:
        if self.tile < 32:
            raise ValueError(f"tile: expected 32 pixels or more, got {self.tile}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales: expected one positive number or more, got {self.scales}")

    def build(self, setting: Setting) -> TrainedWeakCLIP:
        """The refinement, before fitting.

        Raises:
            ValueError: If the windows are too small for the CLIP, or the batch cannot be divided
                among the processes.
        """
        whole_tile(self.tile, setting.clip.patch_size)
        setting.processes.check_batch(self.recipe.batch_size)
        return TrainedWeakCLIP(self, setting)


class NothingToTrainOnError(ValueError):
    """No image has a tag, or no tagged image can be read."""


def whole_tile(tile: int, patch: int) -> int:
    """Side of the windows, rounded down to whole patches; a ValueError if it has too few."""
    if tile < FEWEST_PATCHES * patch:
        raise ValueError(
            f"tile: expected {FEWEST_PATCHES * patch} pixels or more for patches of {patch}, got "
            f"{tile}"
        )
    return tile // patch * patch


class TrainedWeakCLIP:
    """A `Refinement` that ignores the maps once it is fitted; also a `Segmenter`."""

    def __init__(self, spec: SeededTraining, setting: Setting) -> None:
        self.spec, self._setting = spec, setting
        self._model: WeakCLIP | None = None
        self._text: Tensor | None = None
        self.curve: list[dict[str, float]] = []
        """Losses during training."""
        self.batch_size = spec.recipe.batch_size
        """Batch size of the training; smaller than the recipe's if memory ran out."""
        self.trained_on = 0
        """Number of images with seeds."""
        self.reopens = True
        """Whether `fit` loads a network already trained with the same inputs, if there is one."""
        self.files: tuple[Path, ...] = ()
        """Files of the network; a caller that no longer needs it may remove them."""

    @property
    def card(self) -> ModelCard:
        """What a saved network must agree with to be loaded."""
        setting = self._setting
        names = ("background", *setting.class_names)
        return ModelCard.of(self.spec.config, names, setting.clip)

    @property
    def model(self) -> WeakCLIP:
        """The fitted network, in evaluation mode.

        Raises:
            ValueError: If it is not fitted.
        """
        if self._model is None:
            raise ValueError("WeakCLIP: expected a fitted network; call `fit` or `load` first")
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the network is computed."""
        return self._setting.device

    def load(self, path: Path) -> None:
        """Load a saved network.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it was saved for other classes, another config or another CLIP.
        """
        model = self._build(seed=0)
        load_components(path, model, self.card)
        self._take(model)

    def save(self, path: Path) -> None:
        """Write the network to a file, atomically."""
        save_components(path, self.model, self.card)

    def fit(self, data: TaggedImages, cams: Sequence[Tensor], *, seed: int, report: Report) -> None:
        """Train on the seeds of the maps; an interrupted training is resumed.

        Raises:
            ValueError: If no image has a tag.
        """
        with self._setting.placed() as setting:
            seeds = ensure_seeds(cams, data, self.spec.rule, setting)
            self._fit(setting, data, seeds, seed, report)

    def fit_on_seeds(self, data: TaggedImages, seeds: Seeds, *, seed: int, report: Report) -> None:
        """Train on existing seeds: the masks of another program, or the annotation.

        Raises:
            ValueError: If there are no seeds.
        """
        with self._setting.placed() as setting:
            self._fit(setting, data, seeds, seed, report)

    @torch.no_grad()
    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Class probabilities, 0 for untagged classes; see `Refinement`. The maps are unused."""
        known = known_labels(image_labels)[:, :, None, None]
        return self.probabilities(images) * known.to(images.device)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities without tags; see `Segmenter`."""
        clip, crop = self._setting.clip, whole_tile(self.spec.tile, self._setting.clip.patch_size)
        assert self._text is not None
        return multi_scale_probabilities(
            self.model,
            normalise_images(images, clip.mean, clip.std),
            crop=crop,
            stride=2 * crop // 3,
            scales=self.spec.scales,
            flip=self.spec.flip,
            text=self._text,
            encode=self._encode,
            execution=self._setting.execution,
        )

    @torch.no_grad()
    def score_maps(self, images: Tensor) -> Tensor:
        """Score maps (text-to-pixel cosine), (B, K, h, w), of images (B, 3, H, W), uint8.

        They are on the patch grid; the decoder is not used.
        """
        clip = self._setting.clip
        assert self._text is not None
        features = self._encode(normalise_images(images, clip.mean, clip.std))
        with self._setting.execution.autocast(images.device):
            _, score_map = self.model.match(features, self._text)
        return score_map.float()

    def untrained(self, seed: int) -> TrainedWeakCLIP:
        """The network as at the start of its training with a seed, without the tap statistics."""
        found = TrainedWeakCLIP(self.spec, self._setting)
        found._take(found._build(seed=seed))
        return found

    @torch.no_grad()
    def held_out_loss(self, images: Tensor, seeds: Tensor) -> float:
        """Seeding loss on held-out seeds (B, H, W), 255 = undecided; also during a training."""
        clip, losses = self._setting.clip, self.spec.config.supervision
        side = losses.grid if isinstance(losses, SeedAndBoundary) else _OTHER_GRID
        model, was_training = self.model, self.model.training
        model.eval()
        with self._setting.execution.autocast(images.device):
            output = model(self._encode(normalise_images(images, clip.mean, clip.std)))
        logits = logits_on_grid(output.logits, (side, side))
        loss = seeding_loss(logits, seeds_on_grid(seeds.long(), (side, side)))
        model.train(was_training)
        return float(loss)

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Parameters of each component and of the frozen towers."""
        model = self.model
        towers = {"image tower": model.image_tower, "text tower": model.text_tower}
        return count_parameters({**model.components, **towers})

    def _take(self, model: WeakCLIP) -> None:
        self._model = model.eval()
        with torch.no_grad():
            self._text = model.text()

    def _encode(self, images: Tensor) -> Features:
        """Frozen features of normalised images, cached if the setting has a memory."""
        memory, model = self._setting.memory, self.model
        if memory is None:
            return model.encode(images)
        config, where = self.spec.config, self._setting.execution.precision
        key = ("features", config.taps, config.class_token, where, bytes_key(images))
        return memory.get(key, lambda: model.encode(images), _bytes)

    def _fit(
        self, setting: Setting, data: TaggedImages, seeds: Seeds, seed: int, report: Report
    ) -> None:
        if not seeds.indices:
            raise NothingToTrainOnError(
                "WeakCLIP: expected an image with a tag to train on, got none"
            )
        self.trained_on = len(seeds.indices)
        key = self._key(seeds, seed)
        network = setting.place("networks") / f"{key}.safetensors"
        notes = network.with_suffix(".json")
        self.files = () if self._setting.folder is None else (network, notes)
        there = self.reopens and network.is_file() and notes.is_file()
        if there and self._reopened(network, notes):
            return
        recipe = self.spec.recipe
        while True:
            state = setting.place("training") / f"{key}-{recipe.batch_size}.pt"
            if setting.processes.first and state.is_file() and is_damaged(state):
                logger.warning("%s: cannot be read, so training starts again", state.name)
                state.unlink()
            setting.processes.wait()
            try:
                model, self.curve = self._train(setting, data, seeds, recipe, seed, state, report)
            except (RuntimeError, MemoryError) as error:
                alone = setting.processes.count == 1
                if not is_out_of_memory(error) or recipe.batch_size == 1 or not alone:
                    raise
                state.unlink(missing_ok=True)
                recipe = replace(recipe, batch_size=recipe.batch_size // 2)
            else:
                break
        self.batch_size = recipe.batch_size
        self._take(model)
        if setting.processes.first:
            network.parent.mkdir(parents=True, exist_ok=True)
            write_text(notes, json.dumps({"curve": self.curve, "batch_size": self.batch_size}))
            self.save(network)
            state.unlink(missing_ok=True)
        setting.processes.wait()

    def _reopened(self, network: Path, notes: Path) -> bool:
        """Load a network trained before; whether it could be read."""
        try:
            self.load(network)
            content = json.loads(notes.read_text(encoding="utf-8"))
        except (ValueError, SafetensorError, OSError):
            return False
        self.curve, self.batch_size = content["curve"], content["batch_size"]
        return True

    def _key(self, seeds: Seeds, seed: int) -> str:
        """Hash of everything that the trained network depends on."""
        spec = self.spec
        parts = [
            describe(spec.config), asdict(spec.recipe), asdict(spec.framing), spec.views,
            spec.view_seed, seed, seeds.key, self._setting.key,
            self._setting.execution.arithmetic, code_id("weakclip.stages.network"),
        ]  # fmt: skip
        return content_key(*parts)

    def _build(self, *, seed: int) -> WeakCLIP:
        setting = self._setting
        names = ("background", *setting.class_names)
        return build_model(self.spec.config, setting.clip, names, seed=seed).to(setting.device)

    def _stream(
        self, setting: Setting, data: TaggedImages, seeds: Seeds, recipe: Recipe, seed: int
    ) -> ViewStream:
        spec, losses = self.spec, self.spec.config.supervision
        guided = losses if isinstance(losses, SeedAndBoundary) else None
        config = spec.config
        tower = setting.clip.image.configured(
            taps=config.taps, class_token=config.class_token, drop_path=config.drop_path
        )
        views = ViewSpec(
            framing=spec.framing,
            views=spec.views,
            grid=_OTHER_GRID if guided is None else guided.grid,
            crf=None if guided is None else guided.crf,
            batch_size=recipe.batch_size,
            seed=seed,
            view_seed=spec.view_seed,
            execution=setting.execution,
        )
        cells = (spec.framing.size // setting.clip.patch_size) ** 2
        size = 4 * cells * (len(config.taps) * tower.width + tower.embed_dim)
        small = len(seeds.indices) * spec.views * size <= BANK_BYTES and not config.drop_path
        key = content_key(
            seeds.key, setting.key, list(config.taps), config.class_token, views.grid,
            spec.views, asdict(spec.framing), spec.view_seed,
            setting.execution.arithmetic, code_id("weakclip.training.stream"),
        )  # fmt: skip
        return ViewStream(
            lambda position: (data.image(seeds.indices[position]), seeds[position]),
            len(seeds.indices),
            views,
            setting.clip,
            tower,
            bank=setting.place(f"views-{key}") if small else None,
            processes=setting.processes,
        )

    def _train(
        self,
        setting: Setting,
        data: TaggedImages,
        seeds: Seeds,
        recipe: Recipe,
        seed: int,
        state: Path,
        report: Report,
    ) -> tuple[WeakCLIP, list[dict[str, float]]]:
        stream = self._stream(setting, data, seeds, recipe, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._build(seed=seed)
            set_statistics(model.adapter, stream.plain_features())
            self._model = model  # `report` may use it
            curve = fit(
                model,
                build_supervision(self.spec.config.supervision, self.spec.config.tau),
                stream,
                recipe,
                report=report,
                resume=state,
                processes=setting.processes,
                execution=setting.execution,
            )
        return model, curve


def _bytes(features: Features) -> int:
    taps = sum(tap.nbytes for tap in features.taps)
    return taps + features.global_embedding.nbytes + features.dense_embedding.nbytes
