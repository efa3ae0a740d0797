"""The notes below a table or figure that are needed to judge its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.runs.plan import SMOKE
from bench.stats.effects import is_noise_pooled
from bench.stats.statistics import RESAMPLES
from bench.studies.factorial import design_of
from bench.studies.method import outside_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.runs.record import RunRecord
    from bench.studies.study import Study

BROUGHT_IN = "external"
"""Text in tables for masks or maps that were made elsewhere."""
ONE_SEED = "One seed only: no ±, and the intervals say nothing about other seeds."
SMOKE_LABEL = "smoke (random weights, no claim)"


def preset_label(preset: str) -> str:
    """Return the printed name of a preset; that of smoke says that it supports no claim."""
    return SMOKE_LABEL if preset == SMOKE else preset


def caption(study: Study, records: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the notes of a table; all records must have the same conditions."""
    first = records[0]
    notes = [
        f"Preset: {preset_label(first.preset)}.",
        "Scores are pooled over the images and averaged over classes, in percent: mean ± standard "
        "deviation over n seeds. Bold: best mean of the column; underlined: second. Trainable: "
        "parameters.",
        *_differences(study, records),
        *study.notes,
        *_outside(study),
        *([ONE_SEED] if len({record.seed for record in records}) == 1 else []),
        f"Protocol: {_flat(first.protocol)}.",
        f"Data: {_flat(first.provenance.data)}.",
        f"Weights: {_flat(first.provenance.weights)}.",
        _code(records),
        *(
            f"Failed: {record.variant} seed {record.seed}: {record.error}"
            for record in records
            if record.status == "failed"
        ),
    ]
    return tuple(notes)


def _differences(study: Study, records: Sequence[RunRecord]) -> list[str]:
    """How differences are computed; empty for studies with dials, which have their own notes."""
    if study.dials is not None:
        return []
    return [
        "Δ: difference in points, paired by seed and image, with a 95 % interval "
        f"that has seeds ({_noise(records)}) and images (bootstrap, {RESAMPLES} resamples) as "
        f"random factors. {_tested(study)}"
    ]


def _tested(study: Study) -> str:
    """The tests of the study, and the meaning of a star."""
    if study.comparisons:
        names = "; ".join(each.name for each in study.comparisons)
        return (
            f"Tested: {names}; * p < 0.05 after Holm's correction over all of these pairs. Other "
            "differences are estimates."
        )
    if design_of(study) is not None:
        return "Tested: effects and interactions; the differences of single rows are estimates."
    return "* p < 0.05 after Holm's correction over the rows."


def _outside(study: Study) -> list[str]:
    """The sources of rows that were made elsewhere."""
    found = {row.name: outside_of(row.config) for row in study.rows}
    told = [
        f"{name}: {each.what}{f', {each.citation}' if each.citation else ''} "
        f"(sha256 {each.sha256[:12]})"
        for name, each in found.items()
        if each is not None
    ]
    return [f"{BROUGHT_IN}: made elsewhere and scored here: {'; '.join(told)}."] if told else []


def _noise(records: Sequence[RunRecord]) -> str:
    if is_noise_pooled(records):
        return "their variance pooled over the rows of the study"
    return "the variance of each pair's own, as the rows are different methods"


def _code(records: Sequence[RunRecord]) -> str:
    commits = sorted({(record.provenance.commit or "unknown")[:10] for record in records})
    devices = sorted({record.provenance.device for record in records})
    text = f"Commit: {', '.join(commits)}; device: {', '.join(devices)}."
    if any(record.provenance.dirty for record in records):
        text += " **Dirty tree: the code differed from the commit.**"
    return text


def flat_items(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as pairs of name and text; long hashes are cut to twelve digits.

    Example:
        >>> flat_items({"a": {"b": 1, "c": [2, 3]}, "d": True})
        [('a.b', '1'), ('a.c', '2, 3'), ('d', 'yes')]
    """
    items: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            items += flat_items(value, f"{name}.")
        elif isinstance(value, list):
            items.append((name, ", ".join(map(_value, value))))
        else:
            items.append((name, _value(value)))
    return items


def _flat(values: Mapping[str, object]) -> str:
    return "; ".join(f"{name} = {text}" for name, text in flat_items(values))


def _value(value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:12] if is_hash else text
