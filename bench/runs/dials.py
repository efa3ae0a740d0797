"""The runs of a study with dials: a request per position and seed, in the order of their worth."""

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
    """Return what is to be asked for, and how many runs are left out.

    Args:
        whole: The study, the rows and seeds that are wanted of it, and the centre of its dials.
        names: Of dials; all if there are none.
        stages: Folder with micro-CLIPs; positions are left out whose weights it lacks.

    Raises:
        BenchError: If there is no such dial.
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
