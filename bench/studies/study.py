"""A study is a value: a question, a reference, the variants compared with it, and the seeds.

Studies live in `ablations/`, one module each with an attribute `STUDY`. The module's docstring has
`Source`, `Run`, `Cost` and `Expect`. Studies are loaded by name: no module of `bench` imports one.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown
from bench.studies.names import SET, STUDIES_PACKAGE, known_studies, load_name
from bench.studies.slots import OFF_KINDS, differing_slots, slot_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.dial import Dials
    from bench.studies.validity import Validity
    from bench.studies.workbench import Config

MAIN = "components"
"""The main study; reports and the README show it first."""
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of a table: a name that says what differs, and the configuration."""

    name: str
    config: Config
    paper: Config | None = None
    """The configuration with the paper's dimensions; None: derived by `bench.studies.transfer`."""

    def __post_init__(self) -> None:
        _check_kebab("variant", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve of the report: the score against one numerical hyper-parameter."""

    name: str
    label: str
    """Axis label: the quantity, with its unit if it has one."""
    path: str
    """Path of the hyper-parameter in a configuration, e.g. `tau` or `matching.depth`."""
    log: bool = False
    """Whether the axis is logarithmic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a curve: a score, and the score with which it is compared."""

    x: float
    row: str
    task: str
    against: str
    """Row of the score with which it is compared; may be `row` itself."""
    against_task: str
    """Task of that score; mostly `task`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The scores of one method at every value of the varied quantity."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A panel of curves: scores of several methods against the amount of error in their input."""

    name: str
    label: str
    """Axis label: the quantity, with its unit if it has one."""
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """A group of planned comparisons: pairs of rows that answer one question of a study."""

    name: str
    """Description, e.g. `refinement against the map alone`."""
    short: str
    """Column heading that describes the second row of each pair, e.g. `map alone`."""
    pairs: tuple[tuple[str, str], ...]
    """Names of rows; the difference is the score of the first minus that of the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Variants that are compared. Each is run once per seed, all on the same images.

    Raises:
        ValueError: If a name, seed, pair, point, dial or series is not valid, or two variants have
            the same name or configuration.
    """

    name: str
    question: str
    reference: Variant
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    published: tuple[str, ...] = ()
    """Prefixes of systems in `results/reference.csv` whose scores are shown below the table."""
    series: tuple[Series, ...] = ()
    """Curves of the score against one hyper-parameter each."""
    responses: tuple[Response, ...] = ()
    """Curves of several methods against the amount of error in their input."""
    comparisons: tuple[Comparisons, ...] = ()
    """The tests, with one correction for all pairs; other differences are estimates. If empty,
    every variant is tested against the reference; in a factorial study every term is tested."""
    dials: Dials | None = None
    """Properties of the data or preset that vary, each position with its own records."""
    validity: Validity | None = None
    """Rows with a published counterpart, and the tests of agreement with it."""
    notes: tuple[str, ...] = ()
    """Sentences for the captions of the tables, in addition to the protocol."""
    bound: str = ""
    """Row that is an upper bound; the table gives each score as a percentage of its score."""
    acts_through: tuple[tuple[str, str], ...] = ()
    """Pairs of slots: the first affects the prediction only if the second is on. In a factorial
    study the effect of the first is computed over the variants with the second on."""

    def __post_init__(self) -> None:
        _check_kebab("study", self.name)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds: expected distinct integers from 0 on, got {self.seeds}")
        by_name: dict[str, Variant] = {}
        for variant in self.rows:
            if variant.name in by_name:
                raise ValueError(f"study {self.name!r}: two variants are called {variant.name!r}")
            for other in by_name.values():
                if other.config == variant.config:
                    raise ValueError(
                        f"study {self.name!r}: {other.name!r} and {variant.name!r} have the same "
                        "configuration; keep one"
                    )
            by_name[variant.name] = variant
        if self.bound and self.bound not in by_name:
            raise ValueError(
                f"study {self.name!r}: expected its bound to be a row, got {self.bound!r}"
            )
        for name in () if self.dials is None else self.dials.names:
            if name not in by_name:
                raise ValueError(
                    f"study {self.name!r}: its dials have a row {name!r} that it lacks"
                )
        pairs = [pair for each in self.comparisons for pair in each.pairs]
        for pair in pairs:
            if pairs.count(pair) > 1 or pair[0] == pair[1] or not by_name.keys() >= set(pair):
                raise ValueError(
                    f"study {self.name!r}: expected comparisons of two different rows of the "
                    f"study, each once, got {' against '.join(pair)}"
                )
        for point in response_points(self):
            if not by_name.keys() >= {point.row, point.against}:
                raise ValueError(
                    f"study {self.name!r}: expected points of rows of the study, got "
                    f"{point.row} against {point.against}"
                )
        for series in self.series:
            values = series_values(self, series).values()
            if not values or (series.log and min(values) <= 0):
                raise ValueError(
                    f"study {self.name!r}, series {series.name!r}: expected "
                    f"{'positive numbers' if series.log else 'a number'} at {series.path!r} of "
                    f"the configurations, got {list(values) or 'none'}"
                )

    @property
    def rows(self) -> tuple[Variant, ...]:
        """The reference, then the variants in their order."""
        return (self.reference, *self.variants)

    def select(self, names: tuple[str, ...]) -> tuple[Variant, ...]:
        """Return the rows with these names, in the study's order; no names means all.

        Raises:
            BenchError: If a name is not a row of the study.
        """
        known = {variant.name: variant for variant in self.rows}
        for name in names:
            if name not in known:
                raise unknown(f"variant of study {self.name!r}", name, known)
        return tuple(variant for variant in self.rows if not names or variant.name in names)


def response_points(study: Study) -> list[Point]:
    """All points of the response curves of a study."""
    curves = (curve for response in study.responses for curve in response.curves)
    return [point for curve in curves for point in curve.points]


def series_values(study: Study, series: Series) -> dict[str, float]:
    """Return the rows of a curve with their values of the hyper-parameter, in ascending order.

    These are the reference and the rows that differ from it in this value only. Empty if the
    reference has no number at `series.path`.
    """
    reference = study.reference.config
    own = _number(reference, series.path)
    found = {
        row.name: number
        for row in study.rows
        if own is not None and (number := _number(row.config, series.path)) is not None
        if _changed(row.config, series.path, own) == reference
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def cumulative_path(study: Study) -> tuple[Variant, ...]:
    """Return a chain of rows that ends at the reference; each step switches on one slot.

    The chain starts at the row that differs in the most slots. It is empty if the study contains no
    such chain of at least two steps. Among several possible steps the first in slot order is taken.
    """
    reference = study.reference.config
    rows = sorted(study.rows, key=lambda row: len(differing_slots(row.config, reference)))
    path = [rows[-1]]
    while path[-1] is not study.reference:
        steps = [row for row in rows if _adds_one_slot(path[-1], row, reference)]
        if not steps:
            return ()
        path.append(min(steps, key=lambda row: _first_slot(path[-1], row)))
    return tuple(path) if len(path) > 2 else ()


def _number(config: Config, path: str) -> float | None:
    """The number at a path of a configuration; None if it is not a number or does not exist."""
    try:
        value = attrgetter(path)(config)
    except AttributeError:  # another kind sits in the slot
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else None


def _changed(config: Any, path: str, value: float) -> Any:  # noqa: ANN401 (any kind of any slot)
    """The configuration with another number at a path."""
    slot, _, rest = path.partition(".")
    return replace(
        config, **{slot: _changed(getattr(config, slot), rest, value) if rest else value}
    )


def _adds_one_slot(before: Variant, after: Variant, reference: Config) -> bool:
    changed = differing_slots(after.config, before.config)
    return (
        len(changed) == 1
        and isinstance(getattr(before.config, changed[0]), OFF_KINDS)
        and getattr(after.config, changed[0]) == getattr(reference, changed[0])
    )


def _first_slot(before: Variant, after: Variant) -> int:
    changed = differing_slots(after.config, before.config)
    return slot_names(before.config).index(changed[0])


def load_study(name: str) -> Study:
    """Return `STUDY` of the module `ablations.<name>`; hyphens and underscores are equivalent.

    Raises:
        BenchError: If there is no such module, or it does not define a valid study.
    """
    asked, known = name, known_studies()
    name = load_name(name.replace("_", "-"))
    if name not in known:
        raise unknown("study", name, known)
    module_name = f"{STUDIES_PACKAGE}.{name.replace('-', '_')}"
    try:
        study = getattr(importlib.import_module(module_name), "STUDY", None)
    except (ValueError, TypeError) as error:
        raise BenchError(f"study {name!r} is not valid: {error}") from error
    if not isinstance(study, Study) or study.name != name:
        got = f"a study called {study.name!r}" if isinstance(study, Study) else repr(study)
        raise BenchError(
            f"{module_name}: expected STUDY to be a bench.studies.study.Study called {name!r}, "
            f"got {got}"
        )
    return study if SET not in asked else replace(study, name=asked)


def with_rows(study: Study, rows: Sequence[Variant]) -> Study:
    """A study with rows appended.

    Raises:
        BenchError: If the study does not compare methods, or has a row of the same name.
    """
    if not rows:
        return study
    if type(study.reference.config) is not type(rows[0].config):
        raise BenchError(
            f"study {study.name!r}: its rows are configurations of WeakCLIP; rows from outside go "
            "into a study of methods, such as `comparison`"
        )
    try:
        return replace(study, variants=(*study.variants, *rows))
    except ValueError as error:
        raise BenchError(f"{error}; choose another name, or leave one out") from error


def load_with(rows: Sequence[Variant], name: str) -> Study:
    """`load_study`, with rows appended."""
    return with_rows(load_study(name), rows)


def _check_kebab(what: str, name: str) -> None:
    if not _KEBAB.fullmatch(name):
        raise ValueError(f"{what} name: expected kebab-case such as 'no-adapter', got {name!r}")
