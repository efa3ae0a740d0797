from __future__ import annotations

import matplotlib as mpl
import pytest

from bench.report.figures.figure import _pair, draw, fingerprint

HEADER = (
    "study,preset,contrast,component,variant,baseline,task,split,metric,difference,low,high,"
    "p_value,p_holm,df,variance_seeds,variance_images,seeds,images\n"
)
ROWS = (
    ("leave-one-out", "adapter", "no-adapter"),
    ("leave-one-out", "matching", "no-matching"),
    ("cumulative", "adapter", "plus-adapter"),
    ("variant", "adapter+matching", "baseline"),
)
CSV = HEADER + "".join(
    f"s,smoke,{kind},{slot},{name},full,{task},train,miou,-0.01,-0.02,0.0,.5,.5,3,0,0,3,600\n"
    for kind, slot, name in ROWS
    for task in ("pseudo", "network")
)


@pytest.mark.parametrize("format_", ["svg", "png"])
def test_the_same_file_gives_the_same_bytes(format_: str) -> None:
    before = dict(mpl.rcParams)
    first = draw(CSV, tasks=["pseudo", "network"], format_=format_)
    assert first == draw(CSV, tasks=["pseudo", "network"], format_=format_)
    assert fingerprint(CSV).encode() in first
    assert dict(mpl.rcParams) == before


def test_the_figure_shows_components_counts_and_the_smoke_label() -> None:
    text = draw(CSV, tasks=["pseudo", "network"], format_="svg").decode()
    for word in (
        "Leave one out", "Add one at a time", "no-matching", "+ adapter", "3 seeds", "600 images",
        "smoke (random weights, no claim)", "mIoU (points)", "network",
    ):  # fmt: skip
        assert word in text
    assert "baseline" not in text
    assert "<dc:date>" not in text


def test_rows_of_one_slot_are_shown_beside_what_is_left_out() -> None:
    one = CSV.replace("variant,adapter+matching,baseline", "variant,matching,depth-3")
    text = draw(one, tasks=["pseudo"], format_="svg").decode()
    assert "depth-3" in text
    assert "Against the reference" in text


def test_a_study_without_effects_on_a_task_has_no_figure() -> None:
    with pytest.raises(ValueError, match="expected effects on other, got none"):
        draw(CSV, tasks=["other"], format_="svg")


def test_a_pair_says_what_both_names_begin_with_once() -> None:
    assert _pair("clip-es-plain-fpn", "clip-es-alone") == "clip-es: plain-fpn − alone"
    assert _pair("full", "baseline") == "full − baseline"
    assert _pair("cam", "cam-caa") == "cam − cam-caa"
