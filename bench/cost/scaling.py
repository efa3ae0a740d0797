"""How cost grows with the side of the image, the classes, the batch and the number of prompts.

One thing is varied at a time; the others stay at the size's own (`micro`: 128 pixels, `paper`: 512;
21 classes, one image). Times and memory are measured at micro size, each in a process of its own;
FLOPs are counted at both sizes on torch's `meta` device, because a step of 1024 x 1024 at paper
size takes minutes on a CPU.

Run: python -m bench profile --scaling      (minutes; add --quick for a few points)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.counts import counted
from bench.cost.load import Load
from bench.cost.profile import environment_of, read_versioned, run_apart
from bench.cost.subject import SIDES, config_at, make_subject
from weakclip.config import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.cost.load import Work
    from bench.cost.plan import Options
    from weakclip.network.model import WeakCLIP

SCHEMA_VERSION = 1
AXES: dict[str, tuple[int, ...]] = {
    "side": (224, 320, 512, 768, 1024),
    "classes": (2, 20, 50, 100, 200),
    "batch": (1, 2, 4, 8, 16),
    "prompts": (2, 20, 50, 100, 200),
}
"""What is varied. Prompts are those of the text tower alone, a batch of texts without images."""
REPEATS, SECONDS = 3, 10.0
STUDY, VARIANT = "components", "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """cost = constant x value^exponent, by least squares on logarithms."""

    exponent: float
    last: float
    """Exponent between the last two points: what large values tend to."""


def works_of(axis: str) -> tuple[Work, ...]:
    """What is timed along an axis."""
    return ("text",) if axis == "prompts" else ("forward", "training step")


def points(axes: Mapping[str, Sequence[int]], options: Options) -> Iterator[tuple[str, int, Load]]:
    """Axis, value and load of every point that is timed."""
    for size in options.sizes:
        for axis, values in axes.items():
            for value in values:
                for work in works_of(axis):
                    yield (
                        axis,
                        value,
                        Load(
                            study=STUDY, variant=VARIANT, size=size, work=work,
                            batch=value if axis == "batch" else 1,
                            side=value if axis == "side" else None,
                            classes=value if axis in ("classes", "prompts") else None,
                            device=options.device, threads=options.threads,
                            repeats=min(options.repeats, REPEATS), warmup=0, seconds=SECONDS,
                        ),
                    )  # fmt: skip


def make_scaling(
    options: Options,
    *,
    axes: Mapping[str, Sequence[int]] = AXES,
    command: str,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Measure everything.

    Args:
        options: Sizes at which calls are timed, device, threads and repeats.
        axes: What is varied, and the values.
        command: What a person typed, for the record.
        report: Told of every point that is done.

    Returns:
        The content of `scaling.json`.
    """
    environment = environment_of(options, command)
    speeds = []
    for axis, value, load in points(axes, options):
        measured = run_apart(load, timeout=options.timeout)
        report(f"{load.size} {axis} {value} {load.work}: {measured.status}")
        speeds.append({"axis": axis, "value": value, **asdict(load), **asdict(measured)})
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": environment,
        "speeds": speeds,
        "flops": [line for size in SIDES for line in _flop_lines(size, axes)],
    }


def count_flops(model: WeakCLIP, count: int, side: int) -> dict[Work, int]:
    """FLOPs of each work, for `count` images of `side` pixels; FLOP = 2 MAC.

    Args:
        model: On torch's `meta` device, in training mode.
        count: Images.
        side: Pixels.
    """
    images = torch.empty(count, 3, side, side, device="meta")
    with counted():
        with FlopCounterMode(display=False) as texts:
            text = model.text()
        with FlopCounterMode(display=False) as text_backward:
            text.sum().backward()  # type: ignore[no-untyped-call]
        text = model.text()
        with FlopCounterMode(display=False) as forward:
            output = model(model.encode(images), text=text)
        with FlopCounterMode(display=False) as backward:
            (output.logits.sum() + output.score_map.sum()).backward()
    texts_flops, forward_flops = texts.get_total_flops(), forward.get_total_flops()
    return {
        "forward": forward_flops,
        "training step": texts_flops + forward_flops + backward.get_total_flops(),
        "text": texts_flops + text_backward.get_total_flops(),
    }


def fit(values: Sequence[float], costs: Sequence[float]) -> Fit:
    """Exponents of costs over values, both positive.

    Raises:
        ValueError: If there are fewer than two different values.

    Example:
        >>> fit([1, 2, 4], [3, 12, 48])
        Fit(exponent=2.0, last=2.0)
    """
    if len(set(values)) < 2:
        raise ValueError(f"exponent: expected two different values or more, got {list(values)}")
    logs = [(math.log2(value), math.log2(cost)) for value, cost in zip(values, costs, strict=True)]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    slope = above / sum((x - mean_x) ** 2 for x, _ in logs)
    (x0, y0), (x1, y1) = sorted(logs)[-2:]
    return Fit(exponent=round(slope, 6), last=round((y1 - y0) / (x1 - x0), 6))


def read_scaling(path: Path) -> dict[str, Any]:
    """The content of a `scaling.json`.

    Raises:
        BenchError: If it is not there, not readable, or of another version.
    """
    way_out = "`python -m bench profile --scaling` makes it"
    return read_versioned(path, SCHEMA_VERSION, "not readable", way_out)


def _flop_lines(size: str, axes: Mapping[str, Sequence[int]]) -> Iterator[dict[str, object]]:
    config = config_at(size, MICRO, MICRO)
    models: dict[int | None, WeakCLIP] = {}
    for axis, values in axes.items():
        for value in values:
            classes = value if axis in ("classes", "prompts") else None
            if classes not in models:
                models[classes] = make_subject(config, size, classes=classes).model.to("meta")
            flops = count_flops(
                models[classes].train(),
                value if axis == "batch" else 1,
                value if axis == "side" else SIDES[size],
            )
            for work in works_of(axis):
                yield {
                    "axis": axis, "value": value, "size": size, "work": work,
                    "flops": flops[work],
                }  # fmt: skip
