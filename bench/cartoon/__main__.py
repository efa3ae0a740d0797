"""Command line: builds CartoonVOC in a folder, its contact sheet, or both.

    python -m bench.cartoon --out DIR --train 600 --val 1500 --tune 400 --seed 2012 --size 128

The last line of stdout is one JSON object. Exit codes: 0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cartoon.sheet import contact_sheet, write_sheet
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import DEFAULT_SEED, DEFAULT_SPLITS, ensure_voc
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Build the data set, the contact sheet, or both; return the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.out is None and arguments.sheet is None:
        return _fail("nothing to do: give --out DIR, --sheet FILE.png, or both", 2)
    splits = {name: getattr(arguments, name) for name in DEFAULT_SPLITS if getattr(arguments, name)}
    start = time.perf_counter()
    try:
        config = WorldConfig(size=arguments.size)
        if arguments.out is not None:
            ensure_voc(
                arguments.out,
                config,
                seed=arguments.seed,
                splits=splits,
                workers=arguments.workers,
            )
        if arguments.sheet is not None:
            write_sheet(arguments.sheet, contact_sheet(config, seed=arguments.seed))
    except ValueError as error:
        return _fail(str(error), 2)
    except (BenchError, OSError) as error:
        return _fail(str(error), 1)
    result = {
        "out": arguments.out and str(arguments.out),
        "sheet": arguments.sheet and str(arguments.sheet),
        "splits": splits,
        "seconds": round(time.perf_counter() - start, 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cartoon", description="Build CartoonVOC, in PASCAL VOC's layout."
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="root of the data set")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="write a contact sheet")
    for split, count in DEFAULT_SPLITS.items():
        text = f"images in {split}, 0 leaves it out (default {count})"
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"default {DEFAULT_SEED}")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default 128)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    return parser


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
