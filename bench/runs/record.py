"""The record of one run: configuration, conditions and results. Immutable once written.

JSON has no NaN and no infinity. A score that does not exist (a class absent everywhere) or a loss
that is not finite is `null` in the file and NaN in memory. The import takes a quarter of a second,
so commands that only list records do without this module.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from bench.errors import RecordError
from weakclip.description import description_id

Status: TypeAlias = Literal["ok", "failed"]
Score: TypeAlias = Annotated[float, BeforeValidator(lambda x: math.nan if x is None else x)]
Scores: TypeAlias = dict[str, Score]
Size: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 53)]
"""A count that every reader of JSON takes as it is."""
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of a result, without absolute paths, host or user names."""

    __pydantic_config__ = _STRICT
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

    __pydantic_config__ = _STRICT
    schema_version: Literal[1]
    study: str
    variant: str
    seed: int
    preset: str
    status: Status
    error: str | None
    config: dict[str, object]
    config_id: str
    protocol: dict[str, object]
    metrics: dict[str, Scores]
    """Task -> metric -> value, in the order of the tasks."""
    per_class: dict[str, dict[str, Scores]]
    """Task -> class name -> metric -> value."""
    parameters: dict[str, dict[str, Size]]
    """Component -> {"total", "trainable"}."""
    seconds: Scores
    peak_memory_mib: FiniteFloat | None
    curve: list[Scores]
    counts_sha256: str | None
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


_RECORD = TypeAdapter(RunRecord)


def to_json(record: RunRecord) -> str:
    """Return a record as the JSON text of its file."""
    raw = json.loads(_RECORD.dump_json(record, warnings="error"))  # what is not finite is null
    return json.dumps(raw, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, *, where: str) -> RunRecord:
    """Read a record's file.

    Args:
        text: The file's text.
        where: Name of the file in error messages.

    Raises:
        RecordError: If the text is not JSON, or not a record of this schema.
    """
    try:
        record = _RECORD.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "text"
        problem = f"{place}: {first['msg']}, got {first['input']!r:.40}"
        raise RecordError(f"{where}: not a valid run record: {problem}") from error
    if description_id(record.config) != record.config_id:
        raise RecordError(f"{where}: config_id is not that of its config")
    if record.status == "ok" and not (record.counts_sha256 and record.metrics):
        raise RecordError(f"{where}: expected metrics and counts of a finished run")
    return record
