"""What the tables of costs share: quantiles of timed calls, and lines of Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def seconds(speed: Mapping[str, Any], share: float = 0.5) -> float:
    """A quantile of the times of one call, the nearest that was measured."""
    times = sorted(speed["milliseconds"])
    return float(times[min(len(times) - 1, math.ceil(share * len(times)) - 1)]) / 1e3


def pipes(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def head(words: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The two lines above a Markdown table, columns of words first."""
    return [
        pipes((*words, *numbers)),
        pipes(["---"] * len(words) + ["---:"] * len(numbers)),
    ]


def where_and_when(environment: Mapping[str, Any]) -> str:
    """The sentence that says what a measurement was made with."""
    dirty = " with uncommitted changes" if environment["dirty"] else ""
    return (
        f"Command: `{environment['command']}`. Device: {environment['device']}, "
        f"{environment['threads']} thread(s) of {environment['cores']} cores, load average "
        f"{environment['load_before']:.1f} before. torch {environment['versions']['torch']}, "
        f"commit {str(environment['commit'])[:12]}{dirty}, {environment['started_utc']}."
    )


def failure(speed: Mapping[str, Any]) -> str:
    """What a table says of a line that was not measured."""
    return f"{speed['status']}: {speed['error']}".replace("|", r"\|")
