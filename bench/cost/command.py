"""`python -m bench profile`: measure the cost of variants, or rebuild the tables."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import console, flags
from bench.cost import profile as profiling
from bench.cost import scaling as growth
from bench.cost.profile import make_profile, options_for, read_versioned
from bench.cost.scaling import AXES, make_scaling, scaling_csv, scaling_markdown
from bench.cost.table import csv_text, markdown
from bench.runs.provenance import command_line
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def profile(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Carry out the command; return 1 if a line failed for another reason than lack of memory."""
    name = "scaling" if options.scaling else "profile"
    path = options.out / f"perf/{name}.json"
    if not options.rebuild:
        content = _measure(options, command_line(words))
        write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    version = (growth if options.scaling else profiling).SCHEMA_VERSION
    flag = " --scaling" if options.scaling else ""
    content = read_versioned(path, version, f"`python -m bench profile{flag}` makes it")
    texts = (
        (scaling_csv(content), scaling_markdown(content))
        if options.scaling
        else (csv_text(content), markdown(content))
    )
    tables = [options.out / f"tables/{name}.{ending}" for ending in ("csv", "md")]
    for table, text in zip(tables, texts, strict=True):
        write_atomically(table, text.encode())
    failed = sum(line["status"] in ("failed", "timed out") for line in content["speeds"])
    console.result({
        "study": name, "runs": len(content["speeds"]), "failed": failed,
        "tables": [table.as_posix() for table in tables],
    })  # fmt: skip
    return 1 if failed else 0


def _measure(options: argparse.Namespace, command: str) -> dict[str, Any]:
    usual = options_for(flags.device_of(options.device), quick=options.quick)
    wanted = replace(
        usual,
        study=options.study,
        sizes=tuple(options.sizes or usual.sizes),
        compiled=usual.compiled if options.compiled is None else options.compiled,
        others=usual.others and not options.reference_only,
        repeats=usual.repeats if options.repeats is None else options.repeats,
    )
    if not options.scaling:
        return make_profile(wanted, command=command, report=console.say)
    axes = {axis: values[:2] for axis, values in AXES.items()} if options.quick else AXES
    return make_scaling(wanted, axes=axes, command=command, report=console.say)
