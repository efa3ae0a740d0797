"""Which slots of a configuration differ, how to print them, and the id of a configuration.

The check marks of every table come from here, so they cannot disagree with what was run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from weakclip.config import Cosine, FixedTemplate, PlainDecoder, Resample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weakclip.config import WeakCLIPConfig

COMPONENTS = ("adapter", "prompt", "matching", "decoder")
"""The four slots the paper ablates, in the order in which its table adds them."""

OFF_KINDS = (Resample, FixedTemplate, Cosine, PlainDecoder)
"""What sits in a component's slot when the idea is removed and nothing else."""

ON, OFF = "✓", "✗"


def plain(value: object) -> object:
    """Return `value` as JSON types, with the class name of each dataclass under `kind`.

    `dataclasses.asdict` drops the class, so that two kinds with equal fields would look equal.

    Example:
        >>> plain(FixedTemplate())
        {'kind': 'FixedTemplate', 'template': 'a photo of a {}.'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"kind": type(value).__name__, **parts}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"configuration value: expected a JSON type, got {type(value).__name__}")


def plain_config(config: WeakCLIPConfig) -> dict[str, object]:
    """Return a configuration as the JSON object that records hold."""
    described = plain(config)
    assert isinstance(described, dict)
    return described


def config_id(config: Mapping[str, object]) -> str:
    """First 12 hex digits of the SHA-256 of the sorted compact JSON of `plain_config`."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def slot_names(config: WeakCLIPConfig) -> tuple[str, ...]:
    """All slots and options, the four components first."""
    rest = tuple(field.name for field in fields(config) if field.name not in COMPONENTS)
    return COMPONENTS + rest


def differing_slots(config: WeakCLIPConfig, reference: WeakCLIPConfig) -> tuple[str, ...]:
    """Names of the slots in which two configurations differ, in the order of `slot_names`."""
    return tuple(
        name for name in slot_names(reference) if getattr(config, name) != getattr(reference, name)
    )


def mark(value: object, reference: object) -> str:
    """Return ✗ for an off kind, ✓ for the reference's value, else the value in short.

    Example:
        >>> from weakclip.config import CoAttention
        >>> mark(CoAttention(), CoAttention()), mark(Cosine(), CoAttention())
        ('✓', '✗')
        >>> mark(CoAttention(depth=1), CoAttention())
        'depth=1'
    """
    if isinstance(value, OFF_KINDS):
        return OFF
    if value == reference:
        return ON if is_dataclass(value) else _short(value)
    if not is_dataclass(value) or isinstance(value, type):
        return _short(value)
    same_kind = type(value) is type(reference)
    compared = reference if same_kind else None
    changed = ", ".join(
        f"{field.name}={_short(getattr(value, field.name))}"
        for field in fields(value)
        if compared is not None and getattr(value, field.name) != getattr(compared, field.name)
    )
    return changed if same_kind else type(value).__name__


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(_short(item) for item in value)
    return str(value)
