"""What flags choose from: here, so that `--help` imports nothing that takes long."""

from __future__ import annotations

from typing import Literal, TypeAlias

PRESETS = ("cartoon", "coco", "conditions", "folder", "smoke", "voc", "wide")
"""Names of what `bench.studies.preset` describes."""
PRECISIONS = ("float32", "bfloat16")
"""See `weakclip.training.execution.Precision`."""
OnExisting: TypeAlias = Literal["missing", "renew", "keep", "replace"]
"""What becomes of records that are there; see `bench.runs.plan`."""
HEARTBEAT = 20
"""Seconds between two signs of life in a database; after three times that a worker is dead."""
