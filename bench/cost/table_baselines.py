"""The baselines' part of a profile, as rows of the CSV and as sections of the Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.cost.lines import (
    binding,
    failure,
    head,
    limit_cells,
    limits,
    pipes,
    seconds,
    where_and_when,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORDS = ("baseline", "step", "batch")
NUMBERS = (
    *("parameters", "GFLOP/image", "images/s", "p50 ms", "p95 ms", "calls", "peak MiB", "J/image"),
    *("limit", "share of it"),
)
_STEPS = {
    "cam": "image → maps",
    "refinement": "image, maps → scores",
    "mask": "image → mask",
}


def baseline_lines(part: Mapping[str, Any], rates: Mapping[str, Any]) -> list[str]:
    """A section of Markdown for each size.

    Args:
        part: `baselines` of a `profile.json`.
        rates: `rates` of the same.
    """
    lines = []
    for size, side in part["environment"]["sides"].items():
        rows = [_cells(speed, rates) for speed in part["speeds"] if speed["size"] == size]
        lines += [
            f"## Baselines, {size} size ({side} x {side}, two tags an image)",
            "",
            where_and_when(part["environment"]),
            "",
            "A whole step of one batch in float32, all scales and mirror images of the method "
            "included, nothing fitted; texts are encoded before. Parameters in millions: total / "
            "trainable / dead (no step of a short training leaves them a gradient), then by "
            "component. FLOP = 2 MAC of matrix products and convolutions, gradients of Grad-CAM "
            "included, by component likewise; products without weights (attention, affinities) "
            "count with the component whose weights were used last. A dense CRF and PAMR are "
            "gathers, which do not count. Calls, `limit` and `share of it` "
            "as above.",
            "",
            *head(WORDS, NUMBERS),
            *map(pipes, rows),
            "",
        ]
    return lines


def baseline_rows(part: Mapping[str, Any], rates: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Rows of `profile.csv`; see `baseline_lines`."""
    for speed in part["speeds"]:
        names = ("size", "variant", "work", "batch", "precision", "mode", "status")
        where: dict[str, object] = {name: speed[name] for name in names}
        where["error"] = speed["error"] or ""
        if speed["status"] != "ok":
            yield {**where, "metric": "failed", "value": 1, "unit": "lines"}
            continue
        for component, sizes in speed["parameters"].items():
            for name, value in sizes.items():
                row = {"metric": f"parameters.{name}", "value": value, "unit": "parameters"}
                yield {**where, "component": component, **row}
        for component, flops in (speed.get("component_flops") or {}).items():
            yield {**where, "component": component, "metric": "flops", "value": flops,
                   "unit": "FLOP"}  # fmt: skip
        for metric, value, unit in (
            ("rate", speed["batch"] / seconds(speed), "images/s"),
            ("latency p50", 1e3 * seconds(speed), "ms"),
            ("latency p95", 1e3 * seconds(speed, 0.95), "ms"),
            ("peak memory", speed["peak_memory_mib"], "MiB"),
            ("traffic", speed["traffic_bytes"], "B"),
            ("flops", speed["flops"], "FLOP"),
            ("energy", _joules(speed), "J/image"),
            *_share(speed, rates),
        ):
            if value is not None:
                yield {**where, "metric": metric, "value": value, "unit": unit}


def _share(speed: Mapping[str, Any], rates: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    bound = limits(speed, speed["flops"], rates)
    if bound is not None:
        yield f"share of {binding(bound)} limit", max(bound) / seconds(speed), "1"


def _cells(speed: Mapping[str, Any], rates: Mapping[str, Any]) -> list[str]:
    cells = [speed["variant"], _STEPS[speed["work"]], str(speed["batch"])]
    if speed["status"] != "ok":
        return [*cells, failure(speed), *["-"] * (len(NUMBERS) - 1)]
    joules = _joules(speed)
    return [
        *cells,
        _parameter_cell(speed["parameters"]),
        _flop_cell(speed),
        f"{speed['batch'] / seconds(speed):.3g}",
        f"{1e3 * seconds(speed):.1f}",
        f"{1e3 * seconds(speed, 0.95):.1f}",
        str(len(speed["milliseconds"])),
        f"{speed['peak_memory_mib']:.0f}",
        "-" if joules is None else f"{joules:.3g}",
        *limit_cells(speed, limits(speed, speed["flops"], rates)),
    ]


def _parameter_cell(parts: Mapping[str, Mapping[str, int]]) -> str:
    names = next(iter(parts.values()), {"total": 0, "trainable": 0, "dead": 0})
    whole = {name: sum(part[name] for part in parts.values()) for name in names}
    shown = {"": whole, **(parts if len(parts) > 1 else {})}
    return "<br>".join(
        f"{component} {' / '.join(f'{count / 1e6:.4g}' for count in sizes.values())}".lstrip()
        for component, sizes in shown.items()
    )


def _flop_cell(speed: Mapping[str, Any]) -> str:
    parts = speed.get("component_flops") or {}
    shown = {"": speed["flops"], **(parts if len(parts) > 1 else {})}
    return "<br>".join(
        f"{name} {flops / speed['batch'] / 1e9:.3g}".lstrip() for name, flops in shown.items()
    )


def _joules(speed: Mapping[str, Any]) -> float | None:
    """Per image."""
    if speed["energy_joules"] is None:
        return None
    return float(speed["energy_joules"] / (speed["batch"] * len(speed["milliseconds"])))
