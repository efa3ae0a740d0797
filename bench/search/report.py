"""The files of a search: tables of its trials, a figure, and the best configuration as source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import FORMATS
from bench.report.figures.search import draw_search
from bench.report.table import rows_csv
from bench.runs.store import write_atomically
from bench.search.sweep import python_source

if TYPE_CHECKING:
    from pathlib import Path

    from bench.search.sweep import Found, Search


def write_search(found: Found, search: Search, out: Path, source: Path) -> list[Path]:
    """Write tables and figures to a results folder, the configuration to `source`; return paths."""
    trials = rows_csv(found.rows)
    shares = [{"parameter": k, "importance": v} for k, v in sorted(found.importances.items())]
    importances = rows_csv(shares, columns=("parameter", "importance"))
    files = {
        out / "sweeps" / f"{search.name}.csv": trials.encode(),
        out / "sweeps" / f"{search.name}_importances.csv": importances.encode(),
        source: python_source(found, search).encode(),
    }
    for format_ in FORMATS:
        files[out / "figures" / f"search-{search.name}.{format_}"] = draw_search(
            trials, importances=importances, title=f"Search {search.name}", format_=format_
        )
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)
