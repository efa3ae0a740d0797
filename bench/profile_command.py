"""`python -m bench profile`: measure what variants cost, or make the tables again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import console, flags
from bench.figure_roofline import draw_roofline
from bench.profile import make_profile, options_for, read_profile
from bench.profile_table import csv_text, markdown
from bench.provenance import command_line
from bench.store import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

RAW = "perf/profile.json"


def profile(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Carry out the command; 1 if a line failed other than by running out of memory."""
    path = options.out / RAW
    if not options.rebuild:
        wanted = options_for(
            flags.device_of(options.device), quick=options.quick, compiled=options.compiled
        )
        wanted = replace(wanted, study=options.study, sizes=tuple(options.sizes or wanted.sizes))
        wanted = replace(wanted, all_variants=wanted.all_variants and not options.reference_only)
        if options.repeats is not None:
            wanted = replace(wanted, repeats=options.repeats)
        content = make_profile(wanted, command=command_line(words), report=console.say)
        write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    content = read_profile(path)
    files = render(content)
    for name, data in files.items():
        write_atomically(options.out / name, data)
    failed = sum(speed["status"] in ("failed", "timed out") for speed in content["speeds"])
    console.result({
        "study": content["speeds"][0]["study"], "runs": len(content["speeds"]), "failed": failed,
        "tables": [(options.out / name).as_posix() for name in files],
    })  # fmt: skip
    return 1 if failed else 0


def render(content: dict[str, Any]) -> dict[str, bytes]:
    """The files made from a profile, by path below the results folder."""
    texts = {"tables/profile.csv": csv_text(content), "tables/profile.md": markdown(content)}
    files = {name: text.encode() for name, text in texts.items()}
    for format_ in ("svg", "png"):
        files[f"figures/roofline.{format_}"] = draw_roofline(content, format_=format_)
    return files
