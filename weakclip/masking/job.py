"""One run over a folder of images: each image gets a mask, is skipped, or fails."""

from __future__ import annotations

import errno
import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.masks import exists, is_whole
from weakclip.data.read.tagged import BadImage
from weakclip.network.checkpoints import DamagedError
from weakclip.printable import one_line
from weakclip.stages.caa import CAARefinement
from weakclip.stages.images import ONCE, Memory, WorkingImages
from weakclip.stages.maps import WrittenMaps, ensure_maps
from weakclip.stages.method import Fitted, class_scores, fit_method
from weakclip.stages.network import NothingToTrainOnError, SeededTraining, TrainedWeakCLIP
from weakclip.stages.refine import Fixed
from weakclip.stages.size import labels_at
from weakclip.stages.words import setting_for
from weakclip.training.execution import REFERENCE
from weakclip.training.memory import BatchSize
from weakclip.training.parallel import ALONE

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.masking.folder import ResultFolder
    from weakclip.masking.plan import MaskPlan
    from weakclip.progress import StageReport
    from weakclip.training.execution import Execution
    from weakclip.training.parallel import Processes

logger = logging.getLogger(__name__)

_EVERY_IMAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Write errors that would affect all further images too."""


class MaskJob:
    """The state of a run: which images failed, and how many fit into memory together."""

    def __init__(
        self,
        files: TaggedFiles,
        clip: CLIPBundle,
        folder: ResultFolder,
        plan: MaskPlan,
        *,
        batch_size: int,
        report: StageReport,
        processes: Processes = ALONE,
        execution: Execution = REFERENCE,
    ) -> None:
        """Encode the words; no image is opened yet. The arguments are those of `make_masks`.

        Raises:
            ValueError: If a word is not in the CLIP's vocabulary, a window is too small for the
                CLIP, or a precision is set for a method that computes in float32 only.
        """
        self._files, self._folder, self._plan = files, folder, plan
        self._batch, self._report = BatchSize(batch_size), report
        self._processes = processes
        _check_execution(plan, execution)
        self._setting = setting_for(
            clip, files.classes, plan.words,
            folder=folder.work, execution=execution, processes=processes,
        )  # fmt: skip
        if not isinstance(plan.method.maps, (FromFiles, WrittenMaps)):
            plan.method.maps.build(self._setting)  # reports unknown words before any long step
        once = isinstance(plan.method.refinement.build(self._setting), (Fixed, CAARefinement))
        self._images = WorkingImages(
            files, max_side=plan.max_side, patch=clip.patch_size,
            memory=Memory(ONCE) if once else None,
        )  # fmt: skip
        self._made = folder.read_keys()
        self.repaired: list[str] = []
        """Unreadable files of an earlier run that were made again."""
        self._other: dict[str, BadImage] = {bad.name: bad for bad in files.problems}
        self._failed_elsewhere: dict[str, BadImage] = {}
        self.done = 0
        self.training: dict[str, Any] | None = None

    @property
    def failed(self) -> dict[str, BadImage]:
        """Unusable images by name; those of all processes after `run`."""
        own = {bad.name: bad for bad in self._images.bad.values()}
        return {**self._other, **self._failed_elsewhere, **own}

    @property
    def batch_size(self) -> int:
        """Images processed together, after any reduction for lack of memory."""
        return self._batch.size

    @property
    def wanted(self) -> list[int]:
        """Images that are to have a mask."""
        if self._plan.untagged == "background":
            return list(range(len(self._files)))
        return self._images.tagged

    @cached_property
    def missing(self) -> list[int]:
        """Wanted images that had no valid mask when the run began."""
        return [index for index in self.wanted if self._lacks(index)]

    def run(self) -> None:
        """Make every missing mask, together with the other processes.

        Afterwards `done`, `failed` and `repaired` cover all processes.

        Raises:
            OSError: If results cannot be written at all, e.g. on a full disk.
        """
        mine = sorted({*self._processes.share(self.wanted)} & {*self.missing})
        for index in mine:
            mask = self._folder.mask(index)
            if not is_whole(mask):
                self._remove_damaged(mask)
        if not any(self._processes.gather(bool(mine))):
            return
        fitted = self._fitted(mine)
        if fitted is not None:
            self._write_masks(fitted, mine)
        outcomes = self._processes.gather((self.done, self.failed, self.repaired))
        self.done = sum(done for done, _, _ in outcomes)
        self.repaired = [name for _, _, repaired in outcomes for name in repaired]
        for _, failed, _ in outcomes:
            self._failed_elsewhere |= failed
        if self._processes.first:
            self._folder.write_keys(dict(zip(self._files.names, self._images.keys, strict=True)))
        for bad in self.failed.values():
            if bad.name not in self._other:
                logger.warning("%s", one_line(str(bad)))

    def _remove_damaged(self, path: Path) -> None:
        """Remove an unreadable file of an earlier run; it is made again."""
        if exists(path) and path.is_file():
            path.unlink()
            name = path.relative_to(self._folder.root).as_posix()
            logger.warning("%s: cannot be read and is made again", one_line(name))
            self.repaired.append(name)

    def _kept_network(self) -> TrainedWeakCLIP | None:
        """The network of an earlier run, if there is one and it is readable."""
        refinement, network = self._plan.method.refinement, self._folder.network
        if not isinstance(refinement, SeededTraining) or not network.is_file():
            return None
        trained, readable = refinement.build(self._setting), True
        try:
            trained.load(network)
        except DamagedError:
            readable = False
        self._processes.wait()  # until all have read the file, before it may be removed
        if not readable and self._processes.first:
            self._remove_damaged(network)
        self._processes.wait()
        return trained if readable else None

    def _lacks(self, index: int) -> bool:
        """Whether an image has no readable mask, or its mask is for another file or other tags."""
        name, key = self._files.names[index], self._images.keys[index]
        return self._made.get(name, key) != key or not is_whole(self._folder.mask(index))

    def _fitted(self, mine: list[int]) -> Fitted | None:
        """The fitted method; None if there is nothing to train on."""
        method, kept = self._plan.method, self._kept_network()
        if kept is not None:
            self.training = self._folder.read_training()
            maps = ensure_maps(
                method.maps, self._setting, self._images, seed=self._plan.seed,
                report=partial(self._report, "maps"),
                indices=self.missing,
            )  # fmt: skip
            return Fitted(maps, kept)
        try:
            fitted = fit_method(
                method, self._setting, self._images, seed=self._plan.seed,
                report=self._report, indices=self.wanted,
            )  # fmt: skip
        except NothingToTrainOnError:
            return None
        if isinstance(fitted.refinement, TrainedWeakCLIP):
            trained = fitted.refinement
            self.training = {
                "images": trained.trained_on,
                "batch_size": trained.batch_size,
                "losses": trained.curve,
            }
            if self._processes.first:
                self._folder.write_network(trained, self._plan, self._files, self.training)
            self._processes.wait()
        return fitted

    def _write_masks(self, fitted: Fitted, mine: list[int]) -> None:
        """Write the masks of this process's images."""
        finishes = (self._plan.method.crf,)
        found = class_scores(fitted, self._setting, self._images, mine, finishes, batch=self._batch)
        self._report("masks", 0, len(mine))
        for seen, (index, scores) in enumerate(found, start=1):
            if scores is None:
                self._fail(index, "not enough memory; choose a smaller max_side")
            else:
                self._try_to_write(index, scores[0])
            self._report("masks", seen, len(mine))

    def _try_to_write(self, index: int, scores: Tensor) -> None:
        images = self._images
        size = images.sizes[index]
        labels = labels_at(scores, self._files.image_labels[index], size)
        try:
            picture = images.image(index).permute(1, 2, 0).numpy()
            self._folder.write(index, labels.numpy(), picture)
            self.done += 1
        except OSError as error:
            if error.errno in _EVERY_IMAGE:
                raise
            self._fail(index, f"cannot be written: {error}")

    def _fail(self, index: int, reason: str) -> None:
        self._images.bad[index] = BadImage(self._files.names[index], reason)


def _check_execution(plan: MaskPlan, execution: Execution) -> None:
    if not isinstance(plan.method.refinement, SeededTraining) and execution.arithmetic:
        raise ValueError(
            f"precision {execution.precision}: is for method weakclip, whose network it computes; "
            "maps and seeds are made in float32, so clip-es has nothing else"
        )
