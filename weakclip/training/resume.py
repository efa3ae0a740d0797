"""The state of an unfinished training in a file, so that the training can be resumed.

The state is everything that changes in training: the components with their buffers, the optimiser,
the steps done, the losses logged so far and the random number generators. A resumed training gives
a bit-identical result.
"""

from __future__ import annotations

import io
import logging
import time
import zipfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from weakclip.clip.tensors import DAMAGE
from weakclip.data.atomic import replacing
from weakclip.training.execution import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from weakclip.training.execution import Execution

logger = logging.getLogger(__name__)

_PARTS = {"recipe", "components", "optimiser", "random", "random_cuda", "progress"}
SAVE_EVERY = 30.0
"""Seconds between two saves."""


class Trained(Protocol):
    """A model whose components are saved and restored."""

    @property
    def components(self) -> Mapping[str, nn.Module]:
        """Everything that is trained, by name."""


class Schedule(Protocol):
    """A dataclass that describes a training, with its length."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def iterations(self) -> int:
        """Total number of steps."""


@dataclass(slots=True)
class Progress:
    """Progress of a training, apart from its weights."""

    step: int = 0
    """Steps done."""
    curve: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the losses since the last logged step."""
    since: int = 0
    """Number of steps in `sums`."""
    drawn: str = ""
    """JSON of numpy's generator and of the image order, for trainings that use them."""


class Checkpoint:
    """Saves and restores one training; without a path it does nothing."""

    def __init__(
        self,
        path: Path | None,
        model: Trained,
        optimiser: torch.optim.Optimizer,
        recipe: Schedule,
        *,
        every: float = SAVE_EVERY,
        writes: bool = True,
        execution: Execution = REFERENCE,
    ) -> None:
        """Refer to the parts of a training.

        Args:
            path: File of the state; its name should be a hash of what the result depends on.
            model: Its components are saved, and restored in place; frozen parts are not.
            optimiser: Saved, and restored in place.
            recipe: A file of another recipe is rejected.
            every: Seconds between two saves; 0 saves at every step.
            writes: Whether this process saves; one of several that train together does.
            execution: A file of another arithmetic is rejected.
        """
        self._writes = writes
        self._path, self._model, self._optimiser = path, model, optimiser
        self._recipe, self._every = asdict(recipe), every
        self._arithmetic = execution.arithmetic
        self._saved = time.monotonic()

    def restore(self) -> Progress:
        """Load the file, if there is one; the progress at that time.

        If the file cannot be read, a warning is logged and the training starts from the beginning;
        its next save replaces the file.

        Raises:
            ValueError: If the file belongs to another training.
        """
        if self._path is None or not self._path.exists():
            return Progress()
        try:
            state = _read(self._path)
        except ValueError as error:
            logger.warning("%s", error)
            return Progress()
        if state["recipe"] != self._recipe:
            raise ValueError(
                f"training state {self._path.name}: expected recipe {self._recipe}, got "
                f"{state['recipe']}; remove the file to train from the start"
            )
        arithmetic = state.get("arithmetic", {})  # absent in files of the reference
        if arithmetic != self._arithmetic:
            raise ValueError(
                f"training state {self._path.name}: expected arithmetic {_told(self._arithmetic)}, "
                f"got {_told(arithmetic)}; remove the file to train from the start"
            )
        for name, component in self._model.components.items():
            component.load_state_dict(state["components"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])
        return Progress(**state["progress"])

    def save_if_due(self, progress: Progress, *, now: bool = False) -> None:
        """Write the file atomically if the training has ended, the time has come, or `now`."""
        ended = progress.step == self._recipe["iterations"]
        moment = time.monotonic()
        if self._path is None or not self._writes:
            return
        if moment - self._saved < self._every and not (ended or now):
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as temporary:
            content = io.BytesIO()  # torch does not report a full disk as an OSError
            torch.save(self._state(progress), content)
            temporary.write_bytes(content.getbuffer())
        self._saved = time.monotonic()

    def _state(self, progress: Progress) -> dict[str, Any]:
        """The state in types that `torch.load` reads with `weights_only`."""
        components = self._model.components
        on_gpu = any(p.is_cuda for part in components.values() for p in part.parameters())
        return {
            "recipe": self._recipe,
            "components": {name: part.state_dict() for name, part in components.items()},
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if on_gpu else [],
            "progress": asdict(progress),
            **({"arithmetic": self._arithmetic} if self._arithmetic else {}),
        }


def _told(arithmetic: dict[str, str]) -> str:
    return " ".join(arithmetic.values()) or "float32"


def is_damaged(path: Path) -> bool:
    """Whether a file is not a complete, readable training state."""
    try:
        _read(path)
    except ValueError:
        return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as file:  # torch does not verify the checksums
            broken = file.testzip()
        if broken is not None:
            raise ValueError(f"checksum of {broken}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not set(state) >= _PARTS:
            raise ValueError(f"expected {sorted(_PARTS)}")
    except DAMAGE as error:
        raise ValueError(
            f"training state {path.name}: cannot be read; training starts from the start"
        ) from error
    return state
