"""One run over a folder of images: every image becomes a mask, a skip or a failure."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from weakclip.data.formats.masks import read_mask
from weakclip.data.read.tagged import BadImage
from weakclip.labels import IGNORE
from weakclip.printable import one_line
from weakclip.stages.folder import write_labels
from weakclip.stages.methods import CAMScorer, NetworkScorer, Scorer, refined, seeds_of, whole_tile
from weakclip.stages.network import NetworkSpec, load_network, train_network
from weakclip.stages.plan import SeededTraining, TrainingFree
from weakclip.stages.size import labels_at, shrink, working_size
from weakclip.stages.words import encode_words
from weakclip.training.execution import REFERENCE
from weakclip.training.memory import BatchSize, alike, is_out_of_memory
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.stages.folder import ResultFolder
    from weakclip.stages.plan import MaskPlan, MethodSpec
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes
    from weakclip.training.stream import Seeded

logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
"""Called with (phase, done, in all); the phases are `seeds`, `training` and `masks`."""

_EVERY_IMAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors of writing that the next image would meet as well."""


@dataclass(frozen=True, slots=True)
class _Item:
    """An image that waits to be worked on."""

    index: int
    size: tuple[int, int]
    """Height and width of the file."""
    image: Tensor
    """At the working size, (3, h, w), uint8."""


class MaskJob:
    """The state of a run: what failed, and how many images fit into memory."""

    def __init__(
        self,
        files: TaggedFiles,
        clip: CLIPBundle,
        folder: ResultFolder,
        plan: MaskPlan,
        *,
        batch_size: int,
        report: Report,
        processes: Processes = ALONE,
        execution: Execution = REFERENCE,
    ) -> None:
        """Encode the words; no image is opened yet.

        Args:
            files: Images and tags.
            clip: The frozen CLIP.
            folder: Where results are written; all processes must see the same.
            plan: How masks are made.
            batch_size: Images worked on together.
            report: Told how far this process is.
            processes: Who shares the images.
            execution: How a network is trained and asked.

        Raises:
            ValueError: If the CLIP does not know a word, a window is too small for it, or nothing
                is computed in the precision asked for.
        """
        self._files, self._clip, self._folder, self._plan = files, clip, folder, plan
        self._batch, self._report = BatchSize(batch_size), report
        self._processes, self._execution = processes, execution
        _check_execution(plan.method, execution)
        self._texts = encode_words(clip, files.classes, plan.words)
        if isinstance(plan.method, SeededTraining):
            whole_tile(plan.method, clip.patch_size)  # before hours of training
            processes.check_batch(plan.method.recipe.batch_size)
        self.failed: dict[str, BadImage] = {bad.name: bad for bad in files.problems}
        self.done = 0
        self.training: dict[str, Any] | None = None

    @property
    def batch_size(self) -> int:
        """Images worked on together, after what memory allowed."""
        return self._batch.size

    @property
    def wanted(self) -> list[int]:
        """Images that shall have a mask."""
        if self._plan.untagged == "background":
            return list(range(len(self._files)))
        return self._tagged

    @property
    def missing(self) -> list[int]:
        """Those of them that have none yet."""
        return [index for index in self.wanted if self._lacks_mask(index)]

    def run(self) -> None:
        """Make every mask that is missing, together with the other processes.

        Afterwards `done` and `failed` are those of all processes.

        Raises:
            OSError: If results cannot be written at all, e.g. on a full disk.
        """
        mine = [index for index in self._processes.share(self.wanted) if self._lacks_mask(index)]
        if not any(self._processes.gather(bool(mine))):
            return
        scorer = self._scorer()
        if scorer is not None:
            self._each("masks", mine, self._labels_by(scorer), self._write)
        outcomes = self._processes.gather((self.done, self.failed))
        self.done = sum(done for done, _ in outcomes)
        self.failed = {name: bad for _, failed in outcomes for name, bad in failed.items()}

    def _lacks_mask(self, index: int) -> bool:
        return not self._folder.mask(index).is_file()

    @property
    def _tagged(self) -> list[int]:
        tagged: list[int] = self._files.image_labels.any(dim=1).nonzero()[:, 0].tolist()
        return tagged

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._clip.image.vision.proj.device
        return device

    def _scorer(self) -> Scorer | None:
        """The method, ready; None if there is nothing to train on."""
        match self._plan.method:
            case TrainingFree() as free:
                return CAMScorer(free, self._clip, self._texts)
            case SeededTraining() as trained:
                return self._network(trained)

    def _network(self, method: SeededTraining) -> Scorer | None:
        phrases = [self._plan.words.phrases(name)[0] for name in self._files.classes]
        names = ("background", *phrases)
        spec = NetworkSpec(
            method=method, class_names=names, seed=self._plan.seed, execution=self._execution
        )
        if self._folder.model.is_file():
            model = load_network(self._folder.model, spec, self._clip)
            return NetworkScorer(method, self._clip, model, self._execution)
        known = self._make_seeds(method)
        if not known:
            return None
        self._report("training", 0, method.recipe.iterations)
        model, curve, batch = train_network(
            spec,
            self._clip,
            (lambda position: self._seeded(known[position]), len(known)),
            self._folder,
            lambda done, total: self._report("training", done, total),
            self._processes,
        )
        self.training = {"images": len(known), "batch_size": batch, "losses": curve}
        return NetworkScorer(method, self._clip, model, self._execution)

    def _make_seeds(self, method: SeededTraining) -> list[int]:
        """Write the seeds that are missing; returns the images that have some."""

        def work(items: Sequence[_Item]) -> list[Tensor]:
            images, labels = self._stack(items)
            spec = (method.source, method.rule)
            return list(seeds_of(self._clip, images, labels, self._texts, spec))

        def write(item: _Item, seeds: Tensor) -> None:
            write_labels(self._folder.seeds(item.index), seeds.numpy())

        mine = self._processes.share(self._tagged)
        todo = [index for index in mine if not self._folder.seeds(index).is_file()]
        self._each("seeds", todo, work, write)
        self._processes.wait()
        return [index for index in self._tagged if self._folder.seeds(index).is_file()]

    def _seeded(self, index: int) -> Seeded:
        seeds = torch.from_numpy(read_mask(self._folder.seeds(index))).long()
        height, width = seeds.shape
        image = self._files.load(index)
        if isinstance(image, BadImage):  # it has been readable when its seeds were made
            self._fail(index, image.reason)
            return torch.zeros(3, height, width, dtype=torch.uint8), seeds.fill_(IGNORE)
        return shrink(image, (height, width)), seeds

    def _labels_by(self, scorer: Scorer) -> Callable[[Sequence[_Item]], list[Tensor]]:
        def work(items: Sequence[_Item]) -> list[Tensor]:
            images, labels = self._stack(items)
            scores = refined(images, scorer(images, labels), labels, self._plan.crf)
            return [
                labels_at(score, self._files.image_labels[item.index], item.size)
                for item, score in zip(items, scores, strict=True)
            ]

        return work

    def _write(self, item: _Item, labels: Tensor) -> None:
        self._folder.write(item.index, labels.numpy(), item.image.permute(1, 2, 0).numpy())
        self.done += 1

    def _each(
        self,
        phase: str,
        indices: Sequence[int],
        work: Callable[[Sequence[_Item]], Sequence[Tensor]],
        write: Callable[[_Item, Tensor], None],
    ) -> None:
        """Work on images in groups of one size and write each result."""
        self._report(phase, 0, len(indices))
        seen = 0
        for group in alike(self._items(indices), lambda item: item.image.shape, self._batch.size):
            for item, result in self._batch.run(work, group):
                if result is None:
                    self._fail(item.index, "not enough memory; choose a smaller max_side")
                else:
                    self._try_to_write(write, item, result)
                seen += 1
                bad = len(self.failed) - len(self._files.problems)
                self._report(phase, min(seen + bad, len(indices)), len(indices))

    def _try_to_write(
        self, write: Callable[[_Item, Tensor], None], item: _Item, result: Tensor
    ) -> None:
        try:
            write(item, result)
        except OSError as error:
            if error.errno in _EVERY_IMAGE:
                raise
            self._fail(item.index, f"cannot be written: {error}")

    def _items(self, indices: Sequence[int]) -> Iterator[_Item]:
        for index in indices:
            if self._files.names[index] in self.failed:
                continue
            item = self._load(index)
            if isinstance(item, BadImage):
                self._fail(index, item.reason)
            else:
                yield item

    def _load(self, index: int) -> _Item | BadImage:
        try:
            image = self._files.load(index)
            if isinstance(image, BadImage):
                return image
            size = (int(image.shape[1]), int(image.shape[2]))
            target = working_size(size, self._plan.max_side, self._clip.patch_size)
            return _Item(index, size, shrink(image, target))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return BadImage(self._files.names[index], "not enough memory; make the image smaller")

    def _stack(self, items: Sequence[_Item]) -> tuple[Tensor, Tensor]:
        images = torch.stack([item.image for item in items]).to(self._device)
        labels = self._files.image_labels[[item.index for item in items]].to(self._device)
        return images, labels

    def _fail(self, index: int, reason: str) -> None:
        name = self._files.names[index]
        logger.warning("%s", one_line(f"{name}: {reason}"))
        self.failed[name] = BadImage(name, reason)


def _check_execution(method: MethodSpec, execution: Execution) -> None:
    if isinstance(method, TrainingFree) and execution.arithmetic:
        raise ValueError(
            f"precision {execution.precision}: is for method weakclip, whose network it computes; "
            "maps and seeds are made in float32, so clip-es has nothing else"
        )
