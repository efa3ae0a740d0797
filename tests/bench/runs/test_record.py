from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from bench.runs.plan import PlannedRun
from bench.runs.record import (
    ANNOTATION,
    CONTENT,
    Conditions,
    RecordError,
    RunRecord,
    from_json,
    to_json,
)
from bench.runs.run import carry_out, failed
from bench.studies.slots import config_id
from tests.bench.fake import STUDY, FakeWorkbench, job
from tests.bench.records import PROVENANCE, RECORD


def changed(**values: object) -> str:
    return json.dumps({**json.loads(to_json(RECORD)), **values})


def test_a_record_survives_its_file() -> None:
    assert from_json(to_json(RECORD), where="here") == RECORD
    assert RECORD.run_id == "fake/full/seed0"


def test_what_is_not_finite_is_null_in_the_file_and_nan_in_memory() -> None:
    record = replace(RECORD, metrics={"task": {"miou": math.nan, "recall": 0.5}})
    raw = json.loads(to_json(record))
    assert raw["metrics"]["task"] == {"miou": None, "recall": 0.5}
    back = from_json(to_json(record), where="here").metrics["task"]
    assert math.isnan(back["miou"])
    assert back["recall"] == 0.5


def test_conditions_are_those_of_protocol_data_and_weights() -> None:
    other = replace(RECORD, protocol={**RECORD.protocol, "flip": True})
    assert not other.conditions.fit(RECORD.conditions)
    assert replace(RECORD, seed=5).conditions == RECORD.conditions


def test_what_a_row_learnt_from_is_in_its_record_and_no_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = PlannedRun(variant=STUDY.reference, seed=0, reason="")

    def carried_out() -> RunRecord:
        return from_json(carry_out(job(), run, lambda _step, _total: None)[0].record, where="here")

    plain, real = carried_out(), FakeWorkbench.run
    monkeypatch.setattr(
        FakeWorkbench, "run",
        lambda *given, **named: replace(real(*given, **named), data={ANNOTATION: "ab"}),
    )  # fmt: skip
    record = carried_out()
    assert record.provenance.data == {**plain.provenance.data, ANNOTATION: "ab"}
    assert record.conditions == plain.conditions


def test_conditions_of_two_contents_fit_only_where_one_is_not_known() -> None:
    def of(content: str | None) -> Conditions:
        data = PROVENANCE.data if content is None else {**PROVENANCE.data, CONTENT: content}
        return replace(RECORD, provenance=replace(PROVENANCE, data=data)).conditions

    assert of("a").id == of("b").id == of(None).id  # older records keep their id
    assert of("a").fit(of("a"))
    assert not of("a").fit(of("b"))
    assert of("a").fit(of(None))
    assert of(None).fit(of("b"))
    assert len({str(of(content)) for content in ("a", "b", None)}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, got a truncated or broken file"),
        (to_json(RECORD)[:-40], "truncated or broken"),
        ("[]", "expected a JSON object"),
        (changed(schema_version=2), "expected schema 1, got 2"),
        (changed(extra=1), "expected the fields"),
        (changed(seed="0"), "seed: expected int, got str"),
        (changed(status="done"), "unknown status 'done'"),
        (changed(config={"kind": "Other"}), "config_id is not that of its config"),
        (changed(metrics={}), "expected metrics and counts of a finished run"),
        (changed(counts_sha256=None), "expected metrics and counts of a finished run"),
        (changed(metrics={"task": {"miou": "high"}}), "expected numbers as scores"),
        (changed(metrics={"task": 0.5}), "expected numbers as scores"),
        (changed(provenance={}), "expected the fields"),
        (changed(seed=0).replace('"seed": 0', '"seed": ' + "9" * 5000), "truncated or broken"),
        ("[" * 100_000, "truncated or broken"),
        (changed(metrics={"task": {"miou": 10**400}}), "expected numbers as scores"),
        (changed(seconds={"train": 10**400}), "expected numbers as scores"),
        (changed(peak_memory_mib=10**400), "expected numbers as scores"),
        (changed(parameters={"decoder": {"total": 10**400}}), "got '1000.* total parameters"),
        (changed(parameters={"decoder": {"total": 0.5}}), "got '0.5' total parameters"),
        (changed(parameters={"decoder": 5}), "expected numbers as scores"),
    ],
)
def test_a_file_that_is_not_a_whole_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        from_json(text, where="runs/x.json")
    assert str(caught.value).startswith("runs/x.json: ")


def test_the_id_in_a_record_is_that_of_its_config() -> None:
    assert config_id(RECORD.config) == RECORD.config_id


def test_a_failure_keeps_one_line_without_paths() -> None:
    run = PlannedRun(variant=STUDY.reference, seed=3, reason="new")
    record = failed(job(), run, "now", "OSError: /home/me/x is full\nmore")
    assert isinstance(record, RunRecord)
    assert record.error == "OSError: PATH is full"


@pytest.mark.parametrize("text", ["[" * 9000, "1" * 9000, "\ud800"])
def test_text_that_json_cannot_take_is_a_record_error(text: str) -> None:
    with pytest.raises(RecordError, match="expected JSON"):
        from_json(text, where="here")
