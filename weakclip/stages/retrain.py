"""The last stage: a standard segmentation network trained on pseudo masks.

It uses no tags, so its result on `val` is what a user of the masks would get. All methods of a
study use the same retraining.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.crf.dense import CRFConfig, dense_crf
from weakclip.data.artifacts import code_id, content_key, placed
from weakclip.data.atomic import write_text
from weakclip.description import describe
from weakclip.network.checkpoints import load_whole, save_whole
from weakclip.ops.parameters import count_parameters
from weakclip.retraining.crops import MEAN, STD, CropStream
from weakclip.retraining.loop import train
from weakclip.retraining.network import NetworkSpec, SmallFPN, build_network
from weakclip.retraining.recipe import RetrainingRecipe
from weakclip.training.execution import REFERENCE
from weakclip.training.memory import is_out_of_memory
from weakclip.training.resume import is_damaged
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.progress import Report
    from weakclip.retraining.network import SegmentationNetwork
    from weakclip.stages.kept_seeds import Seeds
    from weakclip.stages.protocols import TaggedImages
    from weakclip.training.execution import Execution

logger = logging.getLogger(__name__)

FORMAT = "weakclip-retrained-1"
_PIXELS = 8 * 512 * 512  # of images that are predicted together
_VALUES = 1 << 28  # of their class scores
_SMALL, _RECIPE = SmallFPN(), RetrainingRecipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """A segmentation network, its training and its inference."""

    network: NetworkSpec = _SMALL
    recipe: RetrainingRecipe = _RECIPE
    scales: tuple[float, ...] = (1.0,)
    """Factors of the image size; the probabilities are averaged."""
    flip: bool = False
    """Whether the probabilities of the mirror image are averaged as well."""
    crf: CRFConfig | None = None
    """Dense CRF on the probabilities; None: no CRF."""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales: expected one positive number or more, got {self.scales}")
        if self.recipe.batch_norm == "frozen" and self.network.weights is None:
            raise ValueError(
                f"retraining: an encoder from random weights cannot keep its batch norms frozen; "
                f"expected weights of {self.network.encoder}, or batch_norm='trained'"
            )

    def build(
        self,
        classes: int,
        device: torch.device,
        *,
        folder: Path | None = None,
        execution: Execution = REFERENCE,
    ) -> RetrainedNetwork:
        """The network of K classes with background, before fitting.

        The folder keeps trained networks and the states of interrupted trainings, if there is one.
        """
        return RetrainedNetwork(self, classes, device, folder, execution)


class RetrainedNetwork:
    """A `weakclip.stages.protocols.Segmenter` once it is fitted or loaded."""

    def __init__(
        self,
        spec: Retraining,
        classes: int,
        device: torch.device,
        folder: Path | None,
        execution: Execution,
    ) -> None:
        self.spec, self.classes, self.device = spec, classes, device
        self._folder, self._execution = folder, execution
        self._model: SegmentationNetwork | None = None
        self.curve: list[dict[str, float]] = []
        """Losses during training."""
        self.files: tuple[Path, ...] = ()
        """Files of the network; a caller that no longer needs it may remove them."""

    @property
    def model(self) -> SegmentationNetwork:
        """The fitted network, in evaluation mode.

        Raises:
            ValueError: If it is not fitted.
        """
        if self._model is None:
            raise ValueError("retraining: expected a fitted network; call `fit` or `load` first")
        return self._model

    def fit(self, data: TaggedImages, masks: Seeds, *, seed: int, report: Report) -> None:
        """Train on masks; an interrupted training is resumed.

        Args:
            data: Images; their tags are not used.
            masks: Labels of some of the images, 255 = undecided.
            seed: Seed of weights, order and crops; on a CPU one seed gives one result.
            report: Called with (steps done, total steps).

        Raises:
            ImportError: If the network needs a package that is not installed.
            FileNotFoundError: If the file of the encoder's weights is missing.
            ValueError: If there is no mask, a label is not a class, or memory ran out.
        """
        if not masks.indices:
            raise ValueError("retraining: expected an image with a mask to train on, got none")
        with placed(self._folder) as folder:
            key = self.key(masks, seed)
            network = folder / "networks" / f"retrained-{key}.safetensors"
            notes = network.with_suffix(".json")
            if self._folder is not None:
                self.files = (network, notes)
            if network.is_file() and notes.is_file() and self._reopened(network, notes):
                return
            state = folder / "training" / f"retrained-{key}.pt"
            if state.is_file() and is_damaged(state):
                logger.warning("%s: cannot be read, so training starts again", state.name)
                state.unlink()
            self._train(data, masks, seed, state, report)
            network.parent.mkdir(parents=True, exist_ok=True)
            write_text(notes, json.dumps({"curve": self.curve}))
            self.save(network)
            state.unlink(missing_ok=True)

    def key(self, masks: Seeds, seed: int) -> str:
        """Hash of everything that the trained network depends on."""
        spec = self.spec
        return content_key(
            describe(spec.network), describe(spec.recipe), _file_sha256(spec.network.weights),
            self.classes, seed, masks.key, self.device.type, self._execution.arithmetic,
            code_id("weakclip.retraining.loop", "weakclip.retraining.network"),
        )  # fmt: skip

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities without tags; see `Segmenter`."""
        largest = images.shape[2] * images.shape[3] * max(1.0, *self.spec.scales) ** 2
        together = min(_PIXELS / largest, _VALUES / (largest * self.classes))
        parts = torch.split(images, max(1, int(together)))
        return torch.cat([self._probabilities(part) for part in parts])

    def save(self, path: Path) -> None:
        """Write the network to a file, atomically."""
        save_whole(path, self.model.state_dict(), FORMAT)

    def load(self, path: Path) -> None:
        """Load a saved network.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or belongs to another network.
        """
        model = self._build(with_weights=False)
        model.load_state_dict(load_whole(path, model.state_dict(), FORMAT))
        self._model = model.eval()

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Numbers of weights of encoder and head."""
        return count_parameters(self.model.components)

    def _train(
        self, data: TaggedImages, masks: Seeds, seed: int, state: Path, report: Report
    ) -> None:
        def read(position: int) -> tuple[Tensor, Tensor]:
            return data.image(masks.indices[position]), masks[position]

        recipe = self.spec.recipe
        batches = CropStream(read, len(masks.indices), recipe, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._build(with_weights=True)
            try:
                self.curve = train(
                    model, batches, report=report, resume=state, execution=self._execution
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise ValueError(
                    f"retraining: not enough memory for {recipe.batch_size} crops of "
                    f"{recipe.crops.size} pixels; choose a smaller batch or smaller crops"
                ) from error
        self._model = model

    def _build(self, *, with_weights: bool) -> SegmentationNetwork:
        network = build_network(self.spec.network, self.classes, with_weights=with_weights)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def _reopened(self, network: Path, notes: Path) -> bool:
        """Load a network trained before; whether it could be read."""
        try:
            self.load(network)
            self.curve = json.loads(notes.read_text(encoding="utf-8"))["curve"]
        except (ValueError, SafetensorError, OSError):
            return False
        return True

    def _probabilities(self, images: Tensor) -> Tensor:
        """Mean over scales and mirror images, followed by the CRF."""
        normal = normalise_images(images.to(self.device), MEAN, STD)
        size = (images.shape[2], images.shape[3])
        views = [(scale, False) for scale in self.spec.scales]
        views += [(scale, True) for scale in self.spec.scales if self.spec.flip]
        total = normal.new_zeros(len(images), self.classes, *size)
        for scale, mirrored in views:
            scaled = [max(1, round(side * scale)) for side in size]
            view = F.interpolate(normal, scaled, mode="bilinear") if scale != 1 else normal
            with self._execution.autocast(self.device):
                logits = self.model(view.flip(3) if mirrored else view)
            logits = logits.float().flip(3) if mirrored else logits.float()
            if scale != 1:
                logits = F.interpolate(logits, size, mode="bilinear")
            total += logits.softmax(dim=1)
        total /= len(views)
        return total if self.spec.crf is None else dense_crf(images, total, self.spec.crf)


def _file_sha256(path: str | None) -> str | None:
    """Hash of a weight file; None if there is no path or no such file."""
    if path is None or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
