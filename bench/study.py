"""A study is a value: a question, a reference, the variants compared with it, and the seeds.

Studies live in `ablations/`, one module each with an attribute `STUDY`; the module's docstring
says `Source`, `Run`, `Cost` and `Expect`. They are loaded by name, so nothing here imports them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, unknown
from bench.slots import differing_slots, slot_names

if TYPE_CHECKING:
    from bench.workbench import Config

STUDIES_PACKAGE = "ablations"
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of a table: a name that says what differs, and the configuration."""

    name: str
    config: Config

    def __post_init__(self) -> None:
        _check_kebab("variant", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared with what. Every variant is run once per seed, all on the same images."""

    name: str
    question: str
    reference: Variant
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    published: tuple[str, ...] = ()
    """Systems, by how their names begin, whose published figures stand below the table."""

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

    @property
    def rows(self) -> tuple[Variant, ...]:
        """The reference, then the variants in their order."""
        return (self.reference, *self.variants)

    def select(self, names: tuple[str, ...]) -> tuple[Variant, ...]:
        """Return the rows with these names in the study's order; no names means all.

        Raises:
            BenchError: If a name is not a row of the study.
        """
        known = {variant.name: variant for variant in self.rows}
        for name in names:
            if name not in known:
                raise unknown(f"variant of study {self.name!r}", name, known)
        return tuple(variant for variant in self.rows if not names or variant.name in names)


def cumulative_path(study: Study) -> tuple[Variant, ...]:
    """Return rows that lead to the reference, each adding one of its slots to the one before.

    The path starts at the row that differs in the most slots. It is empty when the study holds no
    such chain of at least two steps; among several next steps the first in slot order is taken.
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


def _adds_one_slot(before: Variant, after: Variant, reference: Config) -> bool:
    changed = differing_slots(after.config, before.config)
    return len(changed) == 1 and getattr(after.config, changed[0]) == getattr(reference, changed[0])


def _first_slot(before: Variant, after: Variant) -> int:
    changed = differing_slots(after.config, before.config)
    return slot_names(before.config).index(changed[0])


def known_studies() -> tuple[str, ...]:
    """Names of the studies that can be run, sorted."""
    try:
        package = importlib.import_module(STUDIES_PACKAGE)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"package {STUDIES_PACKAGE!r} not found: the suite runs from the root of a checkout, "
            "as `python -m bench ...`"
        ) from error
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name.replace("_", "-") for name in names if not name.startswith("_")))


def load_study(name: str) -> Study:
    """Return `STUDY` of the module `ablations.<name>`.

    Raises:
        BenchError: If there is no such module, or it does not define a valid study.
    """
    known = known_studies()
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
            f"{module_name}: expected STUDY to be a bench.study.Study called {name!r}, got {got}"
        )
    return study


def _check_kebab(what: str, name: str) -> None:
    if not _KEBAB.fullmatch(name):
        raise ValueError(f"{what} name: expected kebab-case such as 'no-adapter', got {name!r}")
