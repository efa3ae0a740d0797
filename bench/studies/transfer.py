"""A study with other network dimensions: each row keeps its difference from the reference.

Studies are written with the dimensions of micro-CLIP. On photographs the network is the paper's, so
every row becomes the paper's configuration with that row's changes. A component that is off stays
off and a context length of 4 stays 4; unchanged settings (channels, widths, dropout) are the
paper's.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.studies.study import Study, Variant
from weakclip.config import WeakCLIPConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


def study_at(study: Study, base: WeakCLIPConfig) -> Study:
    """The study with `base` as its reference; rows that would equal another row are left out.

    Raises:
        BenchError: If a row is not a configuration of WeakCLIP.
    """
    rows = list(_rows(study, base))
    names = {row.name for row in rows}
    comparisons = tuple(
        replace(each, pairs=tuple(pair for pair in each.pairs if names >= set(pair)))
        for each in study.comparisons
    )
    return replace(study, reference=rows[0], variants=tuple(rows[1:]), comparisons=comparisons)


def transferred(
    config: WeakCLIPConfig, reference: WeakCLIPConfig, base: WeakCLIPConfig
) -> WeakCLIPConfig:
    """The configuration that differs from `base` as `config` differs from `reference`."""
    found: WeakCLIPConfig = _moved(config, reference, base)
    return found


def _rows(study: Study, base: WeakCLIPConfig) -> Iterator[Variant]:
    seen: list[WeakCLIPConfig] = []
    for row in study.rows:
        if row.paper is not None:
            yield Variant(name=row.name, config=row.paper, paper=row.paper)
            continue
        if not isinstance(row.config, WeakCLIPConfig) or not isinstance(
            study.reference.config, WeakCLIPConfig
        ):
            raise BenchError(
                f"study {study.name!r}: expected configurations of WeakCLIP, got "
                f"{type(row.config).__name__} in row {row.name!r}, which has no counterpart at "
                "the paper's size; give it one (`paper=`), or run it with preset cartoon"
            )
        config = transferred(row.config, study.reference.config, base)
        if config not in seen:
            seen.append(config)
            yield Variant(name=row.name, config=config)


def _moved(value: Any, ours: Any, theirs: Any) -> Any:  # noqa: ANN401 (any kind of any slot)
    if value == ours:
        return theirs
    if not is_dataclass(value) or isinstance(value, type):
        return value
    if type(value) is type(ours) is type(theirs):
        return replace(
            theirs,
            **{
                field.name: _moved(*(getattr(each, field.name) for each in (value, ours, theirs)))
                for field in fields(value)
            },
        )
    shared = {field.name for field in fields(value)} & {field.name for field in fields(ours)}
    kept = {
        name: getattr(theirs, name)
        for name in shared
        if getattr(value, name) == getattr(ours, name) and hasattr(theirs, name)
    }
    return replace(value, **kept)
