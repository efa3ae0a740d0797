"""Compare this project with vectors of the reference implementations.

    python tests/parity/verify.py densecrf FILE.npz

prints one row per compared key. Exit code 0: all within tolerance; 1: one is not; 2: usage, or a
file that cannot be read.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

VERIFIERS = {
    "clims": "verify_clims",
    "clip_es": "verify_clip_es",
    "dense_clip": "verify_dense_clip",
    "densecrf": "verify_densecrf",
    "weakclip": "verify_weakclip",
    "weclip": "verify_weclip",
}
"""Sub-command to the module beside this file that has `verify(path) -> list[Row]`."""

COLUMNS = ("max_abs", "max_rel", "mean_abs", "agreement", "agreement_untied", "tolerance")
"""What is printed of a row, where its verifier measures it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verifier; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare with vectors of a reference.")
    parser.add_argument("verifier", choices=sorted(VERIFIERS))
    parser.add_argument("file", type=Path, help="an .npz file in the format of the vectors")
    options = parser.parse_args(arguments)
    root = str(Path(__file__).resolve().parents[2])
    if root not in sys.path:
        sys.path.insert(0, root)
    module = importlib.import_module(f"tests.parity.{VERIFIERS[options.verifier]}")
    try:
        rows: list[Any] = module.verify(options.file)
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{options.file}: cannot be verified: {error}\n")
        return 2
    if not rows:
        sys.stderr.write(f"{options.file}: holds nothing to compare\n")
        return 2
    sys.stdout.write(table(rows))
    return 0 if all(row.passed for row in rows) else 1


def table(rows: Sequence[Any]) -> str:
    """Plain text, one line per row and a summary."""
    columns = [name for name in COLUMNS if getattr(rows[0], name, None) is not None]
    width = max(3, *(len(row.key) for row in rows))
    lines = [f"{'key':{width}}" + "".join(f"  {name:>10}" for name in columns) + "  result"]
    for row in rows:
        cells = "".join(f"  {_cell(getattr(row, name)):>{max(10, len(name))}}" for name in columns)
        lines.append(f"{row.key:{width}}{cells}  {'ok' if row.passed else 'FAILED'}")
    failed = sum(not row.passed for row in rows)
    lines.append(f"{len(rows)} compared, {failed} beyond tolerance")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
