"""Configurations as JSON: what records hold, and what ids are made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPLIED = "implied"
"""Key of a field's metadata: the value that descriptions older than the field stand for. It is left
out of a description, so the ids of what was described before stay."""


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
    if isinstance(value, PurePath):  # what a folder is called, not where it is
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"configuration value: expected a JSON type, got {type(value).__name__}")


def description_id(description: Mapping[str, object]) -> str:
    """First 12 hex digits of the SHA-256 of a description's sorted compact JSON."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
