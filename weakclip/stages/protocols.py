"""The interface of every method: images and tags in, class activation maps or class scores out.

A method has two independent parts. A `PseudoMasker` makes class activation maps (CAMs) from images
and tags. A `Refinement` makes class scores including background from images, tags and the CAMs of
any masker. So every masker can be combined with every refinement. The configuration of a part is
a frozen dataclass with a `build` method; the part it builds is fitted (unless it has nothing to
learn) and then applied.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from weakclip.data.artifacts import content_key, placed
from weakclip.training.execution import REFERENCE
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.progress import Report
    from weakclip.stages.images import Memory
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a method gets in addition to images and tags."""

    clip: CLIPBundle
    """The frozen CLIP, on `device`."""
    class_names: tuple[str, ...]
    """Phrase for each of the F foreground classes, as input of CLIP's text tower."""
    background_words: tuple[str, ...]
    """Words for the background."""
    device: torch.device
    phrases: tuple[tuple[str, ...], ...] = ()
    """All phrases of each class; if empty, each class has only its name."""
    template: str = "a photo of a {}."
    """Sentence for CLIP with one `{}`, for methods that have no template of their own."""
    folder: Path | None = None
    """Folder for the products of stages: maps, seeds, training states, networks."""
    execution: Execution = REFERENCE
    """How a network is trained and applied."""
    processes: Processes = ALONE
    """The processes that share the batches of a training."""
    memory: Memory | None = None
    """Cache of this process for intermediate results; None: no cache."""

    @property
    def key(self) -> str:
        """Hash of the frozen CLIP, the words and the device type, on which products depend."""
        words = [list(self.class_names), list(self.background_words), list(self.phrases)]
        return content_key(self.clip.sha256, words, self.template, self.device.type)

    def place(self, name: str) -> Path:
        """A path in the folder of products.

        Raises:
            ValueError: If the setting has no folder.
        """
        if self.folder is None:
            raise ValueError(f"setting: expected a folder to keep {name} in, got none")
        return self.folder / name

    @contextmanager
    def placed(self) -> Iterator[Setting]:
        """This setting with a folder; a temporary one if it has none."""
        with placed(self.folder) as folder:
            yield replace(self, folder=folder)


class TaggedImages(Protocol):
    """A training split as a method sees it, without pixel annotation."""

    @property
    def image_labels(self) -> Tensor:
        """Image-level tags, (N, F), bool."""

    def __len__(self) -> int:
        """Number of images, N."""

    def image(self, index: int) -> Tensor:
        """An image, (3, H, W), uint8; sizes may differ between images."""


@dataclass(frozen=True, slots=True)
class ImageStack:
    """Tagged images of one size in memory."""

    images: Tensor
    """(N, 3, H, W), uint8."""
    image_labels: Tensor
    """(N, F), bool."""

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.images)

    def image(self, index: int) -> Tensor:
        """An image, (3, H, W), uint8."""
        return self.images[index]


class PseudoMasker(Protocol):
    """Makes class activation maps from images and tags."""

    def fit(self, data: TaggedImages, *, seed: int, report: Report) -> None:
        """Train; a training-free method does nothing.

        Args:
            data: The training split.
            seed: Seed of everything random; on a CPU one seed gives one result.
            report: Called with (steps done, total steps).
        """

    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Class activation maps of the tagged classes; no gradients.

        Args:
            images: (B, 3, H, W), uint8, of one size.
            image_labels: Image-level tags, (B, F), bool.

        Returns:
            (B, F, h, w), float32, in [0, 1] after division by the per-class maximum, on the
            method's own grid; 0 for classes that are not tagged or have no positive evidence. The
            maps of an image do not depend on the other images of the batch.
        """

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """{component: {"total": n, "trainable": n}}; components are disjoint."""


class Refinement(Protocol):
    """Makes class scores including background from the class activation maps of any masker."""

    def fit(self, data: TaggedImages, cams: Sequence[Tensor], *, seed: int, report: Report) -> None:
        """Learn from the CAMs of the training split, one (F, h, w) per image."""

    def scores(self, images: Tensor, image_labels: Tensor, cams: Tensor) -> Tensor:
        """Class scores whose arg-max is the pseudo mask; no gradients.

        Args:
            images: (B, 3, H, W), uint8, of one size.
            image_labels: Image-level tags, (B, F), bool.
            cams: (B, F, h, w), in [0, 1].

        Returns:
            (B, 1 + F, H, W), float32, not negative, background first; 0 for classes that are not
            tagged.
        """

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """{component: {"total": n, "trainable": n}}; components are disjoint."""


@runtime_checkable
class Segmenter(Protocol):
    """Labels images without tags: a fitted WeakCLIP or a retrained network."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities; no gradients.

        Args:
            images: (B, 3, H, W), uint8, of one size.

        Returns:
            (B, 1 + F, H, W), float32, background first, summing to 1 over the classes.
        """


class MaskerSpec(Protocol):
    """Configuration of a `PseudoMasker`: a frozen dataclass."""

    def build(self, setting: Setting) -> PseudoMasker:
        """A masker that is ready to be fitted."""


class RefinementSpec(Protocol):
    """Configuration of a `Refinement`: a frozen dataclass."""

    def build(self, setting: Setting) -> Refinement:
        """A refinement that is ready to be fitted."""
