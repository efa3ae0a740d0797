"""Slots in which configurations differ, their marks in tables, and the id of a configuration.

The ✓ and ✗ of every table are derived here from the configurations that were run.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from weakclip.config import Cosine, FixedTemplate, PlainDecoder, Resample
from weakclip.description import describe, description_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.studies.workbench import Config

COMPONENTS = ("adapter", "prompt", "matching", "decoder")
"""The four slots the paper ablates, in the order in which its table adds them."""

OFF_KINDS = (Resample, FixedTemplate, Cosine, PlainDecoder)
"""Kinds that sit in the slot of a component that is switched off."""

ON, OFF = "✓", "✗"


def plain_config(config: Config) -> dict[str, object]:
    """Return a configuration as a JSON object, as stored in records."""
    described = describe(config)
    assert isinstance(described, dict)
    return described


def config_id(config: Mapping[str, object]) -> str:
    """Id of a configuration from `plain_config`; equal to the id in the library's checkpoints."""
    return description_id(config)


def slot_names(config: Config) -> tuple[str, ...]:
    """All slots and options, WeakCLIP's four components first."""
    names = tuple(field.name for field in fields(config))
    components = tuple(name for name in COMPONENTS if name in names)
    return components + tuple(name for name in names if name not in components)


def differing_slots(config: Config, reference: Config) -> tuple[str, ...]:
    """Names of the slots in which two configurations differ, in the order of `slot_names`.

    Raises:
        ValueError: If one configures WeakCLIP and the other a method around it.
    """
    if type(config) is not type(reference):
        raise ValueError(
            f"expected configurations of one kind, got {type(config).__name__} and "
            f"{type(reference).__name__}"
        )
    return tuple(
        name for name in slot_names(reference) if getattr(config, name) != getattr(reference, name)
    )


def mark(value: object, reference: object) -> str:
    """Return ✗ for an off kind, ✓ for the reference's value, else a short form of the value.

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
