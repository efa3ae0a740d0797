"""The types of a check: kinds of finding, each with its fix, and the findings of a data set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from weakclip.data.check.survey import Survey

Severity = Literal["breaks", "biases", "note"]
"""`breaks`: a run fails or skips images; `biases`: its results are wrong; `note`: harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of finding."""

    name: str
    severity: Severity
    what: str
    fix: str


Find: TypeAlias = "Callable[[Survey], Iterable[str]]"
"""Returns the affected images, tags or lines in order, as text; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of finding and the function that looks for it."""

    kind: Kind
    find: Find


def _check(severity: Severity, name: str, what: str, fix: str) -> Callable[[Find], Check]:
    """A decorator of the function that looks for a kind of finding; it makes a `Check` of it."""
    return partial(Check, Kind(name=name, severity=severity, what=what, fix=fix))


breaks, biases, note = partial(_check, "breaks"), partial(_check, "biases"), partial(_check, "note")


def of_one_key(keyed: Iterable[tuple[object, str]]) -> Iterator[str]:
    """Groups of names that have one key, as text."""
    groups: dict[object, list[str]] = defaultdict(list)
    for key, name in keyed:
        groups[key].append(name)
    return (" = ".join(names) for names in groups.values() if len(names) > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A kind of finding and what it affects in a data set."""

    kind: Kind
    affected: tuple[str, ...]
    """The affected images, tags or lines; at least one."""
