"""Weight files: our own as safetensors, and a reader of the released checkpoints.

A saved model contains only the four components; the frozen CLIP is identified by its checksum.
Readers are strict: a missing, unexpected or wrongly shaped tensor is an error that names it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from weakclip import config as kinds
from weakclip.clip.tensors import check_names
from weakclip.config import WeakCLIPConfig
from weakclip.crf import dense as crf
from weakclip.data.atomic import replacing
from weakclip.description import dataclasses_of, describe, description_id, value_of
from weakclip.network.released import load_released as load_released  # offered next to our own

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.network.model import WeakCLIP

FORMAT = "weakclip-components-1"
_KINDS = dataclasses_of(kinds, crf)


class DamagedError(ValueError):
    """A damaged weight file, as opposed to an intact one of another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What must agree before saved components can be loaded."""

    config: WeakCLIPConfig
    class_names: tuple[str, ...]
    """K names, background first."""
    clip_name: str
    clip_sha256: str
    """Checksum of the frozen CLIP's weights, hexadecimal."""

    @classmethod
    def of(cls, config: WeakCLIPConfig, class_names: Iterable[str], clip: CLIPBundle) -> ModelCard:
        """The card of a model that `build_model` made from these arguments."""
        return cls(
            config=config,
            class_names=tuple(class_names),
            clip_name=clip.name,
            clip_sha256=clip.sha256,
        )


def save_components(path: Path, model: WeakCLIP, card: ModelCard) -> None:
    """Write the four components and their card, atomically, as safetensors."""
    save_whole(
        path,
        _component_state(model),
        FORMAT,
        config=json.dumps(describe(card.config), sort_keys=True),
        config_id=config_id(card.config),
        class_names=json.dumps(card.class_names),
        clip_name=card.clip_name,
        clip_sha256=card.clip_sha256,
    )


def read_card(path: Path) -> ModelCard:
    """Return the card of a file written by `save_components`.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If it is damaged.
        ValueError: If it has another format.
    """
    metadata = _read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"model weights {path}: expected format {FORMAT!r}, got {metadata.get('format')!r}"
        )
    try:
        described, names = json.loads(metadata["config"]), json.loads(metadata["class_names"])
        clip_name, clip_sha256 = metadata["clip_name"], metadata["clip_sha256"]
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedError(f"model weights {path}: damaged description ({error})") from error
    config = from_description(described)
    if not isinstance(config, WeakCLIPConfig) or not isinstance(names, list):
        raise ValueError(f"model weights {path}: its config is no WeakCLIPConfig")
    return ModelCard(
        config=config, class_names=tuple(names), clip_name=clip_name, clip_sha256=clip_sha256
    )


def load_components(path: Path, model: WeakCLIP, card: ModelCard) -> None:
    """Load the four components into `model`, which must have been built as `card` describes.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If the file is damaged or its weights do not match their checksum.
        ValueError: If it was saved for another config, class list or CLIP.
    """
    saved = read_card(path)
    for field in fields(ModelCard):
        found, wanted = getattr(saved, field.name), getattr(card, field.name)
        if found != wanted:
            raise ValueError(
                f"model weights {path}: saved for another {field.name}: expected {wanted}, "
                f"got {found}; build the model from `read_card`"
            )
    tensors = load_whole(path, _component_state(model), FORMAT)
    model.load_state_dict(tensors, strict=False)


def save_whole(path: Path, tensors: Mapping[str, Tensor], format_: str, **notes: str) -> None:
    """Write named tensors with their hash and notes, atomically, as safetensors.

    Args:
        path: The file; its folder is made if needed.
        tensors: Tensors by name.
        format_: Name of the file format, checked on reading.
        notes: Further metadata.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {"format": format_, **notes, "tensors_sha256": _sha256(whole)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(save(whole, metadata))


def load_whole(path: Path, wanted: Mapping[str, Tensor], format_: str) -> dict[str, Tensor]:
    """Tensors of a file written by `save_whole`, checked against wanted names and shapes.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If the file is damaged or its weights do not match their checksum.
        ValueError: If it has another format or belongs to another model.
    """
    metadata = _read_metadata(path)
    if metadata.get("format") != format_:
        raise ValueError(
            f"model weights {path}: expected format {format_!r}, got {metadata.get('format')!r}"
        )
    tensors: dict[str, Tensor] = load_file(path)
    sha256 = metadata.get("tensors_sha256")  # absent in files of earlier versions
    if sha256 is not None and _sha256(tensors) != sha256:
        raise DamagedError(
            f"model weights {path}: not those that were saved; train the model again"
        )
    check_names(tensors, wanted, source=str(path))
    return tensors


def from_description(value: object) -> Any:  # noqa: ANN401 (any kind of config)
    """The config, or part of a config, that `describe` described.

    Raises:
        ValueError: If a kind or a field is unknown, as in a file of a newer version.

    Example:
        >>> from_description({"kind": "FixedTemplate", "template": "a {}"})
        FixedTemplate(template='a {}')
    """
    return value_of(value, _KINDS)


def config_id(config: WeakCLIPConfig) -> str:
    """Id of a configuration: `description_id(describe(config))`."""
    return description_id(describe(config))


def _read_metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f"model weights: no file {path}; train a model first")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(
            f"model weights {path}: not a readable safetensors file: {error}"
        ) from error


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names and values, independent of the order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0")
        flat = tensor.detach().cpu().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


def _component_state(model: WeakCLIP) -> dict[str, Tensor]:
    return {
        f"{slot}.{name}": tensor
        for slot, component in model.components.items()
        for name, tensor in component.state_dict().items()
    }
