"""What a check can find: one small value per kind, with the fix in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from weakclip.data.check.survey import Survey

Severity = Literal["breaks", "biases", "note"]
"""A run fails or skips images; its numbers or masks are wrong; good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of finding."""

    name: str
    severity: Severity
    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A kind and the function that looks for it."""

    kind: Kind
    find: Callable[[Survey], Iterable[str]]
    """The affected images, tags or lines, a text each, in order; nothing if all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A kind that a data set has."""

    kind: Kind
    affected: tuple[str, ...]
    """At least one."""
