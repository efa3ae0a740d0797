"""The state of a training in the middle, kept in a file, so that a killed training goes on.

What is kept is all that moves while a model trains: the four components with their buffers, the
optimiser, the steps done, the losses logged so far and the random number generators. A training
that goes on from the file ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from weakclip.data.atomic import replacing
from weakclip.training.execution import REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.network.model import WeakCLIP
    from weakclip.training.execution import Execution
    from weakclip.training.recipe import Recipe

SAVE_EVERY = 30.0
"""Seconds between two saves."""


@dataclass(slots=True)
class Progress:
    """How far a training is, next to its weights."""

    step: int = 0
    """Steps done."""
    curve: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    """Losses summed since the last logged step."""
    since: int = 0
    """Steps in `sums`."""


class Checkpoint:
    """Saves and restores one training; without a path it does nothing."""

    def __init__(
        self,
        path: Path | None,
        model: WeakCLIP,
        optimiser: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        every: float = SAVE_EVERY,
        writes: bool = True,
        execution: Execution = REFERENCE,
    ) -> None:
        """Watch a training.

        Args:
            path: File of the state; its name should be a hash of all that the result depends on.
            model: Its components are saved and restored in place, its towers are not.
            optimiser: Saved and restored in place.
            recipe: A file of another recipe is refused.
            every: Seconds between two saves; 0 saves at every step.
            writes: Whether this process saves; of several that train together, one does.
            execution: A file of another arithmetic is refused.
        """
        self._writes = writes
        self._path, self._model, self._optimiser = path, model, optimiser
        self._recipe, self._every = asdict(recipe), every
        self._arithmetic = execution.arithmetic
        self._saved = time.monotonic()

    def restore(self) -> Progress:
        """Load the file, if there is one, and return how far it was.

        Raises:
            ValueError: If the file is damaged or is that of another training.
        """
        if self._path is None or not self._path.exists():
            return Progress()
        state = _read(self._path)
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

    def save_if_due(self, progress: Progress) -> None:
        """Write the file, atomically, at the end of the training and now and then before."""
        ended = progress.step == self._recipe["iterations"]
        now = time.monotonic()
        if self._path is None or not self._writes:
            return
        if now - self._saved < self._every and not ended:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as temporary:
            torch.save(self._state(progress), temporary)
        self._saved = time.monotonic()

    def _state(self, progress: Progress) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts only, so that it loads without pickle."""
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


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"training state {path.name}: not a readable file; remove it to train from the start"
        ) from error
    return state
