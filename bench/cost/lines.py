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


def limits(
    speed: Mapping[str, Any], flops: float, rates: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Seconds that arithmetic and memory alone would take at the measured rates, for one call.

    Args:
        speed: A timed line.
        flops: Of one call.
        rates: `rates` of a `profile.json`.

    Returns:
        None if the line was not measured or the device has no rate for its precision.
    """
    rate = rates["matmul_flops"].get(speed["precision"])
    if speed["status"] != "ok" or rate is None:
        return None
    return flops / rate, speed["traffic_bytes"] / rates["copy_bytes"]


def binding(bound: tuple[float, float]) -> str:
    """Name of the longer of `limits`."""
    return "arithmetic" if bound[0] >= bound[1] else "memory"


def limit_cells(speed: Mapping[str, Any], bound: tuple[float, float] | None) -> list[str]:
    """What a table says of the limit that binds: its name and its share of the measured time."""
    if bound is None:
        return ["-", "-"]
    return [binding(bound), f"{max(bound) / seconds(speed):.0%}"]


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
