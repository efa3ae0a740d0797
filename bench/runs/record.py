"""The record of one run: configuration, conditions and results. Immutable once written.

JSON has no NaN and no infinity. A score that does not exist (a class absent everywhere) or a loss
that is not finite is `null` in the file and NaN in memory.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from bench.errors import BenchError
from weakclip.description import description_id

SCHEMA_VERSION = 1
_LARGEST = 1 << 53  # whole numbers below it are exact in every reader of JSON
Status: TypeAlias = Literal["ok", "failed"]
Scores: TypeAlias = dict[str, float]


class RecordError(BenchError):
    """A file that is not a complete, valid run record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of a result, without absolute paths, host or user names."""

    commit: str | None
    dirty: bool | None
    versions: dict[str, str | None]
    device: str
    determinism: dict[str, bool | int | str]
    weights: dict[str, object]
    data: dict[str, object]
    started_utc: str
    command: str


CONTENT = "content_sha256"
"""Key of `data`: split -> hash of the bytes of its images, tags and masks; not in old records."""
ANNOTATION = "annotation_sha256"
"""Key of `data`: hash of the masks on which a row was trained; only rows of the ground truth."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Protocol, data and weights: scores are comparable only if these are the same."""

    id: str
    """First 12 hex digits of the SHA-256 of protocol, data (names of the images) and weights."""
    content: str | None
    """The same for the contents of the files; None in records from before it was hashed."""

    @classmethod
    def of(
        cls, protocol: dict[str, object], data: dict[str, object], weights: dict[str, object]
    ) -> Conditions:
        """The conditions of a record or a workbench."""
        named = {name: value for name, value in data.items() if name not in (CONTENT, ANNOTATION)}
        content = data.get(CONTENT)
        return cls(
            description_id({"protocol": protocol, "data": named, "weights": weights}),
            None if content is None else description_id({CONTENT: content}),
        )

    def fit(self, other: Conditions) -> bool:
        """Whether two conditions are equal; unknown contents are not compared."""
        known = self.content is not None and other.content is not None
        return self.id == other.id and (not known or self.content == other.content)

    def __str__(self) -> str:
        """Text for messages and tickets."""
        return self.id if self.content is None else f"{self.id}/{self.content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The record of one variant and seed. Scores are fractions, times seconds, memory MiB."""

    schema_version: int = SCHEMA_VERSION
    study: str
    variant: str
    seed: int
    preset: str
    status: Status
    error: str | None = None
    config: dict[str, object]
    config_id: str
    protocol: dict[str, object]
    metrics: dict[str, Scores] = field(default_factory=dict)
    """Task -> metric -> value, in the order of the tasks."""
    per_class: dict[str, dict[str, Scores]] = field(default_factory=dict)
    """Task -> class name -> metric -> value."""
    parameters: dict[str, dict[str, int]] = field(default_factory=dict)
    """Component -> {"total", "trainable"}."""
    seconds: Scores = field(default_factory=dict)
    peak_memory_mib: float | None = None
    curve: list[Scores] = field(default_factory=list)
    counts_sha256: str | None = None
    """SHA-256 of the .npz file of per-image counts of the same name; None if the run failed."""
    provenance: Provenance

    @property
    def conditions(self) -> Conditions:
        """Everything that a score depends on besides variant and seed."""
        return Conditions.of(self.protocol, self.provenance.data, self.provenance.weights)

    @property
    def run_id(self) -> str:
        """`study/variant/seed<k>`, the path of the file without suffix."""
        return f"{self.study}/{self.variant}/seed{self.seed}"


def to_json(record: RunRecord) -> str:
    """Return a record as the JSON text of its file."""
    return json.dumps(_encode(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, *, where: str) -> RunRecord:
    """Read a record's file.

    Args:
        text: The file's text.
        where: Name of the file in error messages.

    Raises:
        RecordError: If the text is not JSON, or not a record of this schema.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for integers that are too long
        raise RecordError(f"{where}: expected JSON, got a truncated or broken file") from error
    _check(isinstance(raw, dict), where, "expected a JSON object")
    version = raw.get("schema_version")
    _check(version == SCHEMA_VERSION, where, f"expected schema {SCHEMA_VERSION}, got {version!r}")
    _check_fields(raw, RunRecord, where)
    _check_fields(raw["provenance"], Provenance, where)
    _check(raw["status"] in get_args(Status), where, f"unknown status {raw['status']!r}")
    _check(
        description_id(raw["config"]) == raw["config_id"],
        where,
        "config_id is not that of its config",
    )
    _check(
        raw["status"] == "failed" or (raw["counts_sha256"] and raw["metrics"]),
        where,
        "expected metrics and counts of a finished run",
    )
    try:
        return _decode(raw)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordError(f"{where}: expected numbers as scores, got {error}") from error


def _decode(raw: dict[str, Any]) -> RunRecord:
    values = dict(raw)
    values["metrics"] = {task: _numbers(scores) for task, scores in raw["metrics"].items()}
    values["per_class"] = {
        task: {name: _numbers(scores) for name, scores in classes.items()}
        for task, classes in raw["per_class"].items()
    }
    values["seconds"] = _numbers(raw["seconds"])
    values["curve"] = [_numbers(point) for point in raw["curve"]]
    values["parameters"] = {part: _sizes(sizes) for part, sizes in raw["parameters"].items()}
    if raw["peak_memory_mib"] is not None:
        values["peak_memory_mib"] = float(raw["peak_memory_mib"])
    values["provenance"] = Provenance(**raw["provenance"])
    return RunRecord(**values)


def _numbers(scores: dict[str, float | None]) -> Scores:
    return {key: math.nan if value is None else float(value) for key, value in scores.items()}


def _sizes(sizes: dict[str, int]) -> dict[str, int]:
    for name, size in sizes.items():
        if type(size) is not int or not 0 <= size < _LARGEST:
            raise ValueError(f"{str(size)[:20]!r} {name} parameters")
    return sizes


def _encode(value: object) -> object:
    if isinstance(value, (RunRecord, Provenance)):
        return {item.name: _encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "schema_version": (int,),
    "seed": (int,),
    "error": (str, type(None)),
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
    "counts_sha256": (str, type(None)),
    "peak_memory_mib": (int, float, type(None)),
    "curve": (list,),
    **dict.fromkeys(
        (
            *("config", "protocol", "metrics", "per_class", "parameters", "seconds"),
            *("provenance", "versions", "determinism", "weights", "data"),
        ),
        (dict,),
    ),
}
"""Accepted types of the JSON value of each field; other fields are strings."""


def _check_fields(raw: object, kind: type[RunRecord | Provenance], where: str) -> None:
    expected = [item.name for item in fields(kind)]
    got = sorted(raw) if isinstance(raw, dict) else []
    _check(got == sorted(expected), where, f"expected the fields {sorted(expected)}, got {got}")
    assert isinstance(raw, dict)
    for name in expected:
        accepted = _JSON_TYPES.get(name, (str,))
        wanted = " or ".join(item.__name__ for item in accepted)
        _check(
            isinstance(raw[name], accepted),
            where,
            f"{name}: expected {wanted}, got {type(raw[name]).__name__}",
        )


def _check(condition: object, where: str, problem: str) -> None:
    if not condition:
        raise RecordError(f"{where}: not a valid run record: {problem}")
