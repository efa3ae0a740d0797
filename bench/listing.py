"""`python -m bench list`: the studies and their records; no study is imported, nor PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import console
from bench.choices import PRESETS
from bench.flags import ARTIFACTS, DEFAULT_PRESET, RESULTS
from bench.runs.store import RUNS, Store
from bench.studies.names import known_studies, load_name, question

if TYPE_CHECKING:
    import argparse


def list_studies(options: argparse.Namespace) -> int:
    """List studies and the number of their records in `--out`, or in all defaults of `run`.

    Records of failed runs count, and so do those of other seeds and rows than the study has now.
    """
    places = (ARTIFACTS / preset for preset in PRESETS if preset != DEFAULT_PRESET)
    others = [Store(place) for place in places if (place / RUNS).is_dir()]
    stores = [Store(options.out)] if options.out else [Store(RESULTS), *others]
    known = set(known_studies())
    rows, listed = [], []
    for store in stores:
        place = store.root.as_posix()
        ran = {name for name in store.studies() if load_name(name) in known}
        for name in sorted(ran | known if store is stores[0] else ran):
            records = len(store.run_ids(name))
            rows.append((name, question(name), str(records), place))
            listed.append({"study": name, "records": records, "out": place})
    console.show_rows("Studies", ("study", "question", "records", "folder"), rows)
    console.result({"studies": listed})
    return 0
