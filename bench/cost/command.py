"""`python -m bench profile`: measure what variants cost, or make the tables again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import console, flags
from bench.cost.plan import BASELINES, options_for
from bench.cost.profile import make_baselines, make_profile, read_profile
from bench.cost.roofline import draw_roofline
from bench.cost.scaling import AXES, make_scaling, read_scaling
from bench.cost.scaling_figure import draw_scaling
from bench.cost.scaling_table import scaling_csv, scaling_markdown
from bench.cost.table import csv_text, markdown
from bench.runs.provenance import command_line
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.cost.plan import Options

RAW = "perf/profile.json"
RAW_SCALING = "perf/scaling.json"


def profile(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Carry out the command; 1 if a line failed other than by running out of memory."""
    if options.scaling:
        return _scaling(options, words)
    path = options.out / RAW
    if not options.rebuild:
        wanted = _wanted(options)
        if options.baselines_only:
            content = read_profile(path)  # an unreadable one ends here, before minutes of work
            content[BASELINES] = make_baselines(
                wanted, command=command_line(words), report=console.say
            )
        else:
            content = make_profile(wanted, command=command_line(words), report=console.say)
        write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    content = read_profile(path)
    files = render(content)
    for name, data in files.items():
        write_atomically(options.out / name, data)
    lines = [*content["speeds"], *content.get(BASELINES, {}).get("speeds", ())]
    failed = _failed(lines)
    console.result({
        "study": content["speeds"][0]["study"], "runs": len(lines), "failed": failed,
        "tables": [(options.out / name).as_posix() for name in files],
    })  # fmt: skip
    return 1 if failed else 0


def _scaling(options: argparse.Namespace, words: Sequence[str]) -> int:
    path = options.out / RAW_SCALING
    if not options.rebuild:
        wanted = _wanted(options)
        wanted = replace(wanted, sizes=tuple(options.sizes or ("micro",)))
        axes = {axis: values[:2] for axis, values in AXES.items()} if options.quick else AXES
        content = make_scaling(wanted, axes=axes, command=command_line(words), report=console.say)
        write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    content = read_scaling(path)
    files = render_scaling(content)
    for name, data in files.items():
        write_atomically(options.out / name, data)
    failed = _failed(content["speeds"])
    console.result({
        "study": "scaling", "runs": len(content["speeds"]), "failed": failed,
        "tables": [(options.out / name).as_posix() for name in files],
    })  # fmt: skip
    return 1 if failed else 0


def _wanted(options: argparse.Namespace) -> Options:
    compiled = not options.quick if options.compiled is None else options.compiled
    usual = options_for(flags.device_of(options.device), quick=options.quick, compiled=compiled)
    return replace(
        usual,
        study=options.study,
        sizes=tuple(options.sizes or usual.sizes),
        all_variants=usual.all_variants and not options.reference_only,
        repeats=usual.repeats if options.repeats is None else options.repeats,
    )


def _failed(lines: Sequence[dict[str, Any]]) -> int:
    return sum(line["status"] in ("failed", "timed out") for line in lines)


def render_scaling(content: dict[str, Any]) -> dict[str, bytes]:
    """The files made from `scaling.json`, by path below the results folder."""
    texts = {
        "tables/scaling.csv": scaling_csv(content),
        "tables/scaling.md": scaling_markdown(content),
    }
    files = {name: text.encode() for name, text in texts.items()}
    for format_ in ("svg", "png"):
        files[f"figures/scaling.{format_}"] = draw_scaling(content, format_=format_)
    return files


def render(content: dict[str, Any]) -> dict[str, bytes]:
    """The files made from a profile, by path below the results folder."""
    texts = {"tables/profile.csv": csv_text(content), "tables/profile.md": markdown(content)}
    files = {name: text.encode() for name, text in texts.items()}
    for format_ in ("svg", "png"):
        files[f"figures/roofline.{format_}"] = draw_roofline(content, format_=format_)
    return files
