"""The runs of a study with dials: a request per position and seed, most important dials first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.studies.preset import load_preset, study_for
from weakclip.clip.micro import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.runs.plan import Request


def dial_requests(
    whole: Request, names: Sequence[str], stages: Path | None
) -> tuple[list[Request], int]:
    """Return the requests of a study with dials, and the number of runs that are left out.

    Args:
        whole: The study, its requested rows and seeds, and the preset at the centre.
        names: Names of dials; empty means all.
        stages: Folder with micro-CLIPs; positions whose weights it lacks are left out.

    Raises:
        BenchError: If a name is not a dial.
    """
    assert whole.study.dials is not None
    wanted, found, left_out = {row.name for row in whole.variants}, list["Request"](), 0
    for place in whole.study.dials.places(whole.preset, names):
        rows = tuple(name for name in place.rows if name in wanted)
        if not rows:
            continue
        stage = load_preset(place.preset).clip_stage
        if stage and (stages is None or not (stages / stage / CONFIG_FILE).is_file()):
            left_out += len(rows) * len(whole.seeds)
            continue
        study = study_for(whole.study, place.preset)
        request = replace(whole, study=study, variants=study.select(rows), preset=place.preset)
        found += [replace(request, seeds=(seed,)) for seed in whole.seeds]
    return found, left_out
