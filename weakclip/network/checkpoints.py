"""Weights on disk: our own as safetensors, and a reader of the released checkpoints.

A saved model holds the four components only; the frozen CLIP is named by its checksum. Readers
are strict: a name that is missing, left over or of another shape is told.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from weakclip import config as kinds
from weakclip.clip.tensors import check_names
from weakclip.config import WeakCLIPConfig
from weakclip.crf import dense as crf
from weakclip.network.released import load_released as load_released  # the same door for both kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.network.model import WeakCLIP

FORMAT = "weakclip-components-1"
_KINDS = {
    name: kind
    for module in (kinds, crf)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What must agree before saved components mean anything."""

    config: WeakCLIPConfig
    class_names: tuple[str, ...]
    """K names, background first."""
    clip_name: str
    clip_sha256: str
    """Checksum of the frozen CLIP's weights, hexadecimal."""

    @classmethod
    def of(cls, config: WeakCLIPConfig, class_names: Iterable[str], clip: CLIPBundle) -> ModelCard:
        """The card of a model that `build_model` made of these."""
        return cls(
            config=config,
            class_names=tuple(class_names),
            clip_name=clip.name,
            clip_sha256=clip.sha256,
        )


def save_components(path: Path, model: WeakCLIP, card: ModelCard) -> None:
    """Write the four components and their card, atomically, as safetensors."""
    tensors = {name: tensor.contiguous() for name, tensor in _component_state(model).items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(describe(card.config), sort_keys=True),
        "config_id": config_id(card.config),
        "class_names": json.dumps(card.class_names),
        "clip_name": card.clip_name,
        "clip_sha256": card.clip_sha256,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_card(path: Path) -> ModelCard:
    """Return the card of a file that `save_components` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"model weights: no file {path}; train a model first")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"model weights {path}: not a readable safetensors file: {error}"
        ) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"model weights {path}: expected format {FORMAT!r}, got {metadata.get('format')!r}"
        )
    config = from_description(json.loads(metadata["config"]))
    if not isinstance(config, WeakCLIPConfig):
        raise ValueError(f"model weights {path}: its config is no WeakCLIPConfig")
    return ModelCard(
        config=config,
        class_names=tuple(json.loads(metadata["class_names"])),
        clip_name=metadata["clip_name"],
        clip_sha256=metadata["clip_sha256"],
    )


def load_components(path: Path, model: WeakCLIP, card: ModelCard) -> None:
    """Load the four components into `model`, which must have been built as `card` says.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or was saved for another config, class list or CLIP.
    """
    saved = read_card(path)
    for field in fields(ModelCard):
        found, wanted = getattr(saved, field.name), getattr(card, field.name)
        if found != wanted:
            raise ValueError(
                f"model weights {path}: saved for another {field.name}: expected {wanted}, "
                f"got {found}; build the model from `read_card`"
            )
    tensors = load_file(path)
    check_names(tensors, _component_state(model), source=str(path))
    model.load_state_dict(tensors, strict=False)


def describe(value: object) -> Any:  # noqa: ANN401 (a JSON value)
    """Return `value` as JSON types, each dataclass with its class name under `kind`.

    `dataclasses.asdict` drops the class, so that two kinds with equal fields would look equal.

    Raises:
        TypeError: If a value has no JSON type.

    Example:
        >>> describe(kinds.FixedTemplate())
        {'kind': 'FixedTemplate', 'template': 'a photo of a {}.'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: describe(getattr(value, field.name)) for field in fields(value)}
        return {"kind": type(value).__name__, **parts}
    if isinstance(value, (tuple, list)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"configuration value: expected a JSON type, got {type(value).__name__}")


def from_description(value: object) -> Any:  # noqa: ANN401 (any kind of config)
    """The value that `describe` described; lists come back as tuples.

    Raises:
        ValueError: If a kind or a field is unknown, as in a file of a newer version.

    Example:
        >>> from_description({"kind": "FixedTemplate", "template": "a {}"})
        FixedTemplate(template='a {}')
    """
    if isinstance(value, list):
        return tuple(from_description(item) for item in value)
    if not isinstance(value, dict):
        return value
    parts = {name: from_description(part) for name, part in value.items() if name != "kind"}
    kind = _KINDS.get(str(value.get("kind")))
    if kind is None or not set(parts) <= {field.name for field in fields(kind)}:
        raise ValueError(
            f"config: kind {value.get('kind')!r} with {sorted(parts)} is unknown to this version; "
            f"known: {', '.join(sorted(_KINDS))}"
        )
    return kind(**parts)


def config_id(config: WeakCLIPConfig) -> str:
    """Id of a configuration: `description_id` of its `describe`."""
    return description_id(describe(config))


def description_id(description: Mapping[str, object]) -> str:
    """First 12 hex digits of the SHA-256 of a description's sorted compact JSON."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _component_state(model: WeakCLIP) -> dict[str, Tensor]:
    return {
        f"{slot}.{name}": tensor
        for slot, component in model.components.items()
        for name, tensor in component.state_dict().items()
    }
