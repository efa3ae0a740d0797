"""What every method is to a harness: images and tags in, class activation maps or scores out.

A method is two parts that know nothing of each other: a `PseudoMasker` makes class activation maps
(CAMs) from images and tags, a `Refinement` makes class scores with a background from images, tags
and anybody's CAMs. So `seed x refinement` is a grid and not a list of programs. What can be
configured about a part is a frozen dataclass with a `build` method; the part it builds is fitted
(unless it learns nothing) and then applied.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from weakclip.data.artifacts import content_key
from weakclip.training.execution import REFERENCE
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.images import Memory
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a method may know in addition to images and tags."""

    clip: CLIPBundle
    """The frozen CLIP, on `device`."""
    class_names: tuple[str, ...]
    """What to call each of the F foreground classes when speaking to CLIP."""
    background_words: tuple[str, ...]
    """Words for what is not a class."""
    device: torch.device
    phrases: tuple[tuple[str, ...], ...] = ()
    """All phrases for each class, where a class has several; absent: its name."""
    template: str = "a photo of a {}."
    """Sentence for CLIP with one `{}`, where a method has none of its own."""
    folder: Path | None = None
    """Where products of stages are kept: maps, seeds, states of training, networks."""
    execution: Execution = REFERENCE
    """How a network is trained and applied."""
    processes: Processes = ALONE
    """Who shares the batches of a training."""
    memory: Memory | None = None
    """What a process keeps instead of computing it again; absent: nothing."""

    @property
    def key(self) -> str:
        """Hash of the frozen CLIP, the words and the kind of device: what a product depends on."""
        words = [list(self.class_names), list(self.background_words), list(self.phrases)]
        return content_key(self.clip.sha256, words, self.template, self.device.type)

    def place(self, name: str) -> Path:
        """A path in the folder of products.

        Raises:
            ValueError: If the setting has none.
        """
        if self.folder is None:
            raise ValueError(f"setting: expected a folder to keep {name} in, got none")
        return self.folder / name

    @contextmanager
    def placed(self) -> Iterator[Setting]:
        """The setting with a folder, which is a temporary one if it has none."""
        if self.folder is not None:
            yield self
            return
        with TemporaryDirectory(prefix="weakclip-") as folder:
            yield replace(self, folder=Path(folder))


class TaggedImages(Protocol):
    """A training split as a method may see it: no pixel annotation."""

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
    """Images and tags to class activation maps."""

    def fit(self, data: TaggedImages, *, seed: int, report: Callable[[int, int], None]) -> None:
        """Learn what has to be learnt; nothing for a training-free method.

        Args:
            data: The training split.
            seed: Of everything random, so that one seed gives one result on a CPU.
            report: Called with (steps done, steps in all) as it goes.
        """

    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """Class activation maps of the tagged classes; no gradients.

        Args:
            images: (B, 3, H, W), uint8, of one size.
            image_labels: Image-level tags, (B, F), bool.

        Returns:
            (B, F, h, w), float32, in [0, 1] after a per-class maximum, on the method's own grid;
            0 for classes that are not tagged and for those without positive evidence. An image's
            maps do not depend on the other images of the batch.
        """

    def parameter_counts(self) -> dict[str, dict[str, int]]:
        """Component -> {"total", "trainable"}; components are disjoint."""


class Refinement(Protocol):
    """Anybody's class activation maps to class scores with a background."""

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
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
        """Component -> {"total", "trainable"}; components are disjoint."""


@runtime_checkable
class Segmenter(Protocol):
    """What can label images without tags: a fitted WeakCLIP, a retrained network."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities; no gradients.

        Args:
            images: (B, 3, H, W), uint8, of one size.

        Returns:
            (B, 1 + F, H, W), float32, background first, summing to 1 over the classes.
        """


class MaskerSpec(Protocol):
    """A configuration of a `PseudoMasker`: a frozen dataclass."""

    def build(self, setting: Setting) -> PseudoMasker:
        """A method that is ready to be fitted."""


class RefinementSpec(Protocol):
    """A configuration of a `Refinement`: a frozen dataclass."""

    def build(self, setting: Setting) -> Refinement:
        """A refinement that is ready to be fitted."""
