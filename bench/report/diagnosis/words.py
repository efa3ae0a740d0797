"""The costliest errors of a method, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.diagnosis.tables import gain_text
from bench.report.markup import percent
from bench.runs.plan import SMOKE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.diagnosis import Diagnosis
    from weakclip.evaluation.diagnosis import Cost

LISTED = 3
LEAST = 0.002
"""Fraction of all pixels below which a kind of stuff or a part is not named."""
KINDS = {
    "background taken for an object": "no background was taken for an object",
    "object taken for background": "no part of an object was taken for background",
    "object taken for another class": "no object was taken for another class",
    "undecided": "no pixel was undecided",
}


def in_words(records: Sequence[RunRecord], found: Diagnosis) -> list[str]:
    """Return a diagnosis in sentences, the costliest errors first; empty for preset smoke."""
    if records[0].preset == SMOKE:
        return []
    sentences = (_kinds, _single, _places, _sizes, _seeds, _stuff, _parts)
    return [text for sentence in sentences if (text := sentence(found))]


def _kinds(found: Diagnosis) -> str:
    kinds = [cost for cost in found.of("kind") if cost.errors > 0]
    parts = [f"if {KINDS[cost.name]}, **{gain_text(cost)}**" for cost in kinds]
    head = f"On {found.task} the mIoU is {percent(found.miou)} %. Points it would gain"
    return _listed(head, parts, "; ")


def _single(found: Diagnosis) -> str:
    costs = [cost for cost in found.of("class", "pair") if cost.errors > 0][:LISTED]
    parts = [f"{cost.name} ({gain_text(cost)})" for cost in costs]
    return _listed("Of the errors with single classes these cost most", parts, "; ")


def _places(found: Diagnosis) -> str:
    bands = {cost.name.partition(",")[0]: cost for cost in found.of("contour")}
    near, inner = bands.get("up to 5 px from a contour"), bands.get("interior")
    if near is None or inner is None:
        return ""
    return (
        f"{_percent(near.errors)} of the wrong pixels are up to 5 px from a contour, where "
        f"{_percent(near.pixels)} of all pixels are ({gain_text(near)} points without them). Of "
        f"the pixels beyond 9 px {_percent(inner.right)} are right ({gain_text(inner)} points "
        "without errors there)."
    )


def _sizes(found: Diagnosis) -> str:
    groups = [
        cost
        for view in ("size", "occlusion")
        for cost in sorted(found.of(view), key=lambda cost: cost.right)
        if cost.pixels > 0
    ]
    parts = [f"{_percent(cost.right)} of {cost.name}" for cost in groups]
    return _listed("Of the pixels of objects, these are right", parts)


def _seeds(found: Diagnosis) -> str:
    by_name = {cost.name: cost for cost in found.of("seed")}
    right, wrong = by_name.get("seed is right"), by_name.get("seed is wrong")
    if right is None or wrong is None:
        return ""
    open_ = by_name.get("seed is undecided")
    rest = f"; of the undecided {_percent(open_.right)} come out right" if open_ else ""
    return (
        f"Of the pixels whose seed is wrong {_percent(wrong.right)} are corrected, of those whose "
        f"seed is right {_percent(1 - right.right)} are destroyed{rest}."
    )


def _stuff(found: Diagnosis) -> str:
    stuff = _shown(found, "stuff: ")
    leaks = sorted(stuff, key=lambda cost: cost.right)[:LISTED]
    parts = [
        f"{_percent(1 - cost.right)} of {_bare(cost)} ({gain_text(cost)} without)" for cost in leaks
    ]
    return _listed("Stuff that is taken for an object most often", parts)


def _parts(found: Diagnosis) -> str:
    parts = sorted(_shown(found, "part: "), key=lambda cost: cost.right)
    if len(parts) < 2 * LISTED:
        return ""
    least, most = parts[:LISTED], parts[: -LISTED - 1 : -1]
    least_text, most_text = (
        ", ".join(f"{_bare(cost)} ({_percent(cost.right)})" for cost in each)
        for each in (least, most)
    )
    return f"Parts of objects that are found least: {least_text}; most: {most_text}."


def _listed(head: str, parts: Sequence[str], between: str = ", ") -> str:
    """A sentence with a list; empty without parts."""
    return f"{head}: {between.join(parts)}." if parts else ""


def _shown(found: Diagnosis, start: str) -> list[Cost]:
    return [
        cost for cost in found.of("shows") if cost.name.startswith(start) and cost.pixels >= LEAST
    ]


def _bare(cost: Cost) -> str:
    return cost.name.partition(": ")[2]


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if share < 0.095 else 0}f} %"
