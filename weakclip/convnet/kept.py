"""Weights of a trained network on disk, so that it is trained only once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from weakclip.data.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from weakclip.training.parallel import Processes

logger = logging.getLogger(__name__)


def train_once(
    network: nn.Module, path: Path, processes: Processes, train: Callable[[], None]
) -> None:
    """Load the weights of an earlier training, or train and save them.

    Args:
        network: Gets the weights. With several processes, only the first one trains.
        path: Its name is a hash of what the training depends on; an unreadable file is made again.
        processes: The processes that need the network.
        train: Trains `network` in place.
    """
    if processes.first and not _taken(network, path):
        train()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, network.state_dict())
    processes.wait()
    if not processes.first and not _taken(network, path):
        raise ValueError(f"{path}: expected the network that the first process trained; got none")


def write_weights(
    path: Path, state: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """Write a state dict as safetensors, atomically, with notes in its header."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=None if notes is None else dict(notes)))


def _taken(network: nn.Module, path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        logger.warning("%s: cannot be read and is made again (%s)", path.name, error)
        return False
    return True
