"""The values that flags accept, in a module of its own so that `--help` needs no slow imports."""

from __future__ import annotations

from typing import Literal, TypeAlias

PRESETS = ("cartoon", "coco", "conditions", "folder", "smoke", "voc")
"""Names of the presets in `bench.studies.preset`."""
PRECISIONS = ("float32", "bfloat16")
"""See `weakclip.training.execution.Precision`."""
OnExisting: TypeAlias = Literal["missing", "renew", "keep", "replace"]
"""What to do about existing records; see `bench.runs.plan.Request`."""
HEARTBEAT = 20
"""Seconds between two heartbeats of a worker; after three times that it is considered dead."""
