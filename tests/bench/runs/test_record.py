from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from bench.errors import RecordError
from bench.runs.plan import PlannedRun
from bench.runs.record import (
    ANNOTATION,
    CONTENT,
    Conditions,
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


def test_a_value_of_another_type_is_not_written() -> None:
    with pytest.raises(ValueError, match="Expected `int`"):
        to_json(replace(RECORD, seed="0"))  # type: ignore[arg-type]


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
        ("", "text: Invalid JSON: EOF"),
        (to_json(RECORD)[:-40], "Invalid JSON: EOF"),
        ("[]", r"text: Input should be an object, got \[\]"),
        (changed(schema_version=2), "schema_version: Input should be 1, got 2"),
        (changed(extra=1), "extra: Unexpected keyword argument, got 1"),
        (to_json(RECORD).replace('"curve"', '"curves"'), "curve: Field required"),
        (changed(seed="0"), "seed: Input should be a valid integer, got '0'"),
        (changed(seed=True), "seed: Input should be a valid integer, got True"),
        (changed(status="done"), "status: Input should be 'ok' or 'failed', got 'done'"),
        (changed(config={"kind": "Other"}), "config_id is not that of its config"),
        (changed(metrics={}), "expected metrics and counts of a finished run"),
        (changed(counts_sha256=None), "expected metrics and counts of a finished run"),
        (changed(metrics={"task": {"miou": "high"}}), "metrics.task.miou: .* number, got 'high'"),
        (changed(metrics={"task": {"miou": "0.5"}}), "metrics.task.miou: .* number, got '0.5'"),
        (changed(metrics={"task": 0.5}), "metrics.task: Input should be an object, got 0.5"),
        (changed(provenance={}), "provenance.commit: Field required"),
        (changed(seed=0).replace('"seed": 0', '"seed": ' + "9" * 5000), "Invalid JSON: number"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        (changed(metrics={"task": {"miou": 10**400}}), "metrics.task.miou: .* number, got 1000"),
        (changed(seconds={"train": 10**400}), "seconds.train: .* number, got 1000"),
        (changed(peak_memory_mib=10**400), "peak_memory_mib: Input should be a .*number"),
        (changed(parameters={"decoder": {"total": 10**400}}), "decoder.total: .* less than .*"),
        (changed(parameters={"decoder": {"total": 0.5}}), "decoder.total: .* integer"),
        (changed(parameters={"decoder": 5}), "parameters.decoder: Input should be an object"),
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
    with pytest.raises(RecordError, match=r"Invalid JSON|unicode string"):
        from_json(text, where="here")
