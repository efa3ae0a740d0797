"""Configurations as JSON, for records and for the ids derived from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

IMPLIED = "implied"
"""Key in a field's metadata: the value assumed when a description lacks the field. A field that has
this value is left out of the description, so ids from before the field was added stay valid."""


def describe(value: object) -> Any:  # noqa: ANN401 (a JSON value)
    """Return `value` as JSON types, each dataclass with its class name under `kind`.

    `dataclasses.asdict` drops the class, so that two kinds with equal fields would look equal.

    Raises:
        TypeError: If a value has no JSON type.

    Example:
        >>> from weakclip.config import FixedTemplate
        >>> describe(FixedTemplate())
        {'kind': 'FixedTemplate', 'template': 'a photo of a {}.'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = {
            field.name: describe(getattr(value, field.name))
            for field in fields(value)
            if IMPLIED not in field.metadata
            or getattr(value, field.name) != field.metadata[IMPLIED]
        }
        return {"kind": getattr(value, "described_as", type(value).__name__), **parts}
    if isinstance(value, (tuple, list)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, PurePath):  # the name of a folder, not its location
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"configuration value: expected a JSON type, got {type(value).__name__}")


def value_of(description: object, kinds: Mapping[str, type]) -> Any:  # noqa: ANN401 (any kind)
    """Rebuild the value from what `describe` returned; lists become tuples.

    Args:
        description: JSON types.
        kinds: Dataclasses that may occur, by name.

    Raises:
        ValueError: If a kind or a field is unknown, as in a file of a newer version.
    """
    if isinstance(description, list):
        return tuple(value_of(item, kinds) for item in description)
    if not isinstance(description, dict):
        return description
    parts = {name: value_of(part, kinds) for name, part in description.items() if name != "kind"}
    kind = kinds.get(str(description.get("kind")))
    if kind is None or not set(parts) <= {field.name for field in fields(kind)}:
        raise ValueError(
            f"config: kind {description.get('kind')!r} with {sorted(parts)} is unknown to this "
            f"version; known: {', '.join(sorted(kinds))}"
        )
    implied = {
        field.name: field.metadata[IMPLIED]
        for field in fields(kind)
        if IMPLIED in field.metadata and field.name not in parts
    }
    return kind(**parts, **implied)


def dataclasses_of(*modules: ModuleType) -> dict[str, type]:
    """The dataclasses defined or imported in some modules, by name, for `value_of`."""
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and is_dataclass(kind)
    }


def description_id(description: Mapping[str, object]) -> str:
    """First 12 hex digits of the SHA-256 of a description's sorted compact JSON."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
