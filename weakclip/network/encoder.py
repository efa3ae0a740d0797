"""Convolutional encoders: timm networks with stage outputs, and files of their weights.

Nothing is downloaded: weights are read from a file of the user, or initialised at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import timm

from weakclip.clip.micro import ASSETS
from weakclip.clip.tensors import read_tensors

if TYPE_CHECKING:
    from timm.models import FeatureListNet
    from torch import Tensor


EMBEDDED = "micro-backbone.safetensors"
"""As the path of weights it means the file of this name in the package, not in a folder."""


def timm_stages(name: str, **options: object) -> FeatureListNet:
    """A timm network that returns the outputs of its stages.

    Args:
        name: Name in timm.
        options: Options of `timm.create_model` with `features_only`.

    Raises:
        ValueError: If timm does not know the name, or the network rejects the options.
    """
    try:
        network: FeatureListNet = timm.create_model(
            name, pretrained=False, features_only=True, **options
        )
    except (RuntimeError, TypeError, NotImplementedError, AssertionError) as error:
        given = ", ".join(f"{option}={value}" for option, value in options.items())
        raise ValueError(
            f"encoder {name!r}: expected a timm network with stages that takes {given}, such as "
            f"'resnet50'; timm says: {error}"
        ) from error
    return network


def encoder_weights(path: Path, name: str, otherwise: str, origin: str = "") -> dict[str, Tensor]:
    """The state dict in a weight file of an encoder.

    Args:
        path: `EMBEDDED`, a safetensors file, or a state dict or checkpoint written by `torch.save`.
        name: Name of the network, for messages.
        otherwise: Alternative to a missing file, for messages.
        origin: Code that creates the network with its weights, for messages; by default timm's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read; a pickle with anything but tensors is refused.
    """
    if path == Path(EMBEDDED):
        path = ASSETS / EMBEDDED
    if not path.is_file():
        origin = origin or f"timm.create_model({name!r}, pretrained=True)"
        raise FileNotFoundError(
            f"encoder {name}: {path} is missing; save the state dict of {origin} there on a "
            f"machine with a network, {otherwise}"
        )
    try:
        return read_tensors(path)
    except ValueError as error:
        raise ValueError(
            f"encoder {name}: {path} holds no weights that can be read ({error}); expected "
            "safetensors, or a state dict by torch.save"
        ) from error
