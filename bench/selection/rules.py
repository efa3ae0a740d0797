"""Rules that choose a checkpoint of a training by measurements of each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

Rule: TypeAlias = Literal[
    "last-step", "ema", "held-out-seed-loss", "crf-energy", "tag-agreement", "oracle"
]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """Measurements of a checkpoint. Only `oracle_miou` uses the annotation."""

    step: int
    is_average: bool
    """Whether it is the moving average of the weights."""
    held_out_seed_loss: float
    """Seeding loss on held-out images."""
    crf_energy: float
    """Energy per pixel of masks of held-out images in a dense CRF with unaries from the maps."""
    tag_agreement: float
    """F1 of the classes that the network finds in held-out images, against their tags."""
    oracle_miou: float
    """mIoU of the masks of training images, restricted to the tags, against the annotation."""


def chosen(rule: Rule, states: Sequence[Signals]) -> Signals:
    """The checkpoint that a rule chooses; of equally good ones the last.

    Only `ema` chooses the moving average; all other rules choose among the other checkpoints, which
    are in the order of their steps.

    Raises:
        ValueError: If there is no checkpoint to choose from.
    """
    plain = [state for state in reversed(states) if not state.is_average]
    averages = [state for state in reversed(states) if state.is_average]
    if not plain or (rule == "ema" and not averages):
        raise ValueError(f"{rule}: expected a state to choose, got none")
    match rule:
        case "last-step":
            return plain[0]
        case "ema":
            return averages[0]
        case "held-out-seed-loss":
            return min(plain, key=lambda state: state.held_out_seed_loss)
        case "crf-energy":
            return min(plain, key=lambda state: state.crf_energy)
        case "tag-agreement":
            return max(plain, key=lambda state: state.tag_agreement)
        case "oracle":
            return max(plain, key=lambda state: state.oracle_miou)
