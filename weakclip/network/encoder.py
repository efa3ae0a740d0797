"""Convolutional encoders: networks of timm cut into stages, and files of their weights.

Nothing is downloaded: a file that the user names is read, or the network starts at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import timm

from weakclip.clip.tensors import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from timm.models import FeatureListNet
    from torch import Tensor


def timm_stages(name: str, **options: object) -> FeatureListNet:
    """A timm network that returns the outputs of its stages.

    Args:
        name: Timm's.
        options: As of `timm.create_model` with `features_only`.

    Raises:
        ValueError: If timm does not know it, or it has no such stages or options.
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
    """The state dict of an encoder, with what follows it in the file.

    Args:
        path: A safetensors file, or what torch.save wrote of a state dict or a checkpoint.
        name: Of the network, for messages.
        otherwise: What else can be done if the file is missing, for messages.
        origin: Code that gives the network with its weights; timm's if absent.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read; a pickle with anything but tensors is refused.
    """
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
