"""A finished record and a small store of them, for tests."""

from __future__ import annotations

from bench.runs.record import Provenance, RunRecord
from bench.studies.slots import config_id, plain_config
from tests.bench.fake import FULL, STUDY

PROVENANCE = Provenance(
    commit="0123456789abcdef",
    dirty=False,
    versions={"python": "3.11.0", "timm": None},
    device="a processor",
    determinism={"cpu_threads": 1},
    weights={"id": "none", "sha256": "f" * 64},
    data={"name": "Fake", "images": {"train": 12}},
    started_utc="2026-01-01T00:00:00Z",
    command="python -m bench run fake",
)

RECORD = RunRecord(
    schema_version=1,
    study=STUDY.name,
    variant="full",
    seed=0,
    preset="cartoon",
    status="ok",
    error=None,
    config=plain_config(FULL),
    config_id=config_id(plain_config(FULL)),
    protocol={"splits": {"task": "train"}, "tags_used": True},
    metrics={"task": {"miou": 0.5}},
    per_class={"task": {"cat": {"iou": 0.5}}},
    parameters={"decoder": {"total": 2, "trainable": 1}},
    seconds={"train": 1.5},
    peak_memory_mib=12.5,
    curve=[{"step": 1.0, "loss": 2.0}],
    counts_sha256="0" * 64,
    provenance=PROVENANCE,
)
