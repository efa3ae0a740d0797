"""Main effects and interactions: by hand, against a regression, and in the report."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bench.report.build import render
from bench.report.contrasts import factorial_tables
from bench.report.figures.figure import fingerprint
from bench.report.figures.interactions import draw_interactions, interaction_tasks
from bench.report.table import rows_csv
from bench.runs.store import Store
from bench.stats.effects import counts_by_row, effects
from bench.stats.statistics import contrast, pooled_miou, resample
from bench.studies.factorial import Design, design_of, terms_of
from bench.studies.study import Study, Variant, load_study
from tests.bench.fake import FULL, STUDY, make_records
from weakclip.config import Cosine, FixedTemplate, Resample

if TYPE_CHECKING:
    from pathlib import Path

NO_ADAPTER = replace(FULL, adapter=Resample())
TWO = Study(
    name="fake",
    question="Do they help each other?",
    reference=Variant(name="both", config=FULL),
    variants=(
        Variant(name="no-adapter", config=NO_ADAPTER),
        Variant(name="no-matching", config=replace(FULL, matching=Cosine())),
        Variant(name="neither", config=replace(NO_ADAPTER, matching=Cosine())),
    ),
    seeds=(0, 1),
)


def counts_of(shares: np.ndarray) -> np.ndarray:
    """One class, 10000 pixels per image, the share found is the IoU: (S, N) -> (S, N, 1, 3)."""
    found = np.round(10_000 * shares).astype(np.int64)
    return np.stack([found, found, np.full_like(found, 10_000)], axis=-1)[:, :, None]


def test_a_study_of_all_combinations_is_found() -> None:
    assert design_of(TWO) == Design(
        ("adapter", "matching"),
        {"both": (1, 1), "no-adapter": (-1, 1), "no-matching": (1, -1), "neither": (-1, -1)},
    )


def test_other_studies_are_not_factorial() -> None:
    assert design_of(STUDY) is None
    assert design_of(replace(TWO, variants=TWO.variants[:2])) is None
    prompt = Variant(name="prompt", config=replace(FULL, prompt=FixedTemplate()))
    assert design_of(replace(TWO, variants=(*TWO.variants[:2], prompt))) is None
    assert design_of(replace(TWO, variants=TWO.variants[:1])) is None


def test_effects_by_hand() -> None:
    """Adapter: 3 alone and 5 with matching; matching: 1 alone and 3 with the adapter."""
    scores = {"both": 16.0, "no-adapter": 11.0, "no-matching": 13.0, "neither": 10.0}
    design = design_of(TWO)
    assert design is not None
    found = {t.name: sum(t.weights[n] * scores[n] for n in scores) for t in terms_of(design)}
    assert found == {"adapter": 4.0, "matching": 2.0, "adapter × matching": 1.0}


def test_what_acts_through_another_has_its_effect_where_that_is_on_and_one_name() -> None:
    """`a` is worth 4 with `b` and nothing without; `b` is worth 3 without `a` and 7 with it."""
    levels: dict[str, tuple[int, ...]] = {
        "both": (1, 1),
        "a": (1, -1),
        "b": (-1, 1),
        "none": (-1, -1),
    }
    scores = {"both": 17.0, "a": 10.0, "b": 13.0, "none": 10.0}
    terms = terms_of(Design(("a", "b"), levels, acts_through=(("a", "b"),)))
    found = {term.name: sum(term.weights[n] * scores[n] for n in scores) for term in terms}
    assert found == {"a, with b": 4.0, "b": 5.0}


def test_the_factorial_study_takes_prompt_and_matching_with_the_decoder() -> None:
    design = design_of(load_study("factorial"))
    assert design is not None
    terms = {term.name: term.weights for term in terms_of(design)}
    assert list(terms) == [
        "adapter", "prompt, with decoder", "matching, with decoder", "decoder",
        "adapter × prompt, with decoder", "adapter × matching, with decoder",
        "adapter × decoder", "prompt × matching, with decoder",
    ]  # fmt: skip
    for name, weights in terms.items():
        assert sum(weights.values()) == pytest.approx(0)
        assert sum(abs(weight) for weight in weights.values()) == pytest.approx(2)
        assert ("with decoder" in name) == (weights["adapter-prompt"] == 0)


CELLS = list(product((1, -1), repeat=3))
NAMES = ["".join("+-"[level < 0] for level in cell) for cell in CELLS]
THREE = Design(("a", "b", "c"), dict(zip(NAMES, CELLS, strict=True)))
TRUTH = {"a": 0.08, "b": 0.02, "c": 0.0, "a × b": 0.04, "a × c": 0.0, "b × c": 0.0}


def three_factors(generator: np.random.Generator) -> list[np.ndarray]:
    """2^3 variants with the true effects `TRUTH` and noise of seeds, images and both."""
    images = generator.normal(0, 0.05, (1, 200))
    return [
        counts_of(
            0.5 + 0.04 * a + 0.01 * b + 0.02 * a * b
            + generator.normal(0, 0.01, (3, 1)) + images + generator.normal(0, 0.02, (3, 200))
        )
        for a, b, _ in CELLS
    ]  # fmt: skip


def test_effects_are_twice_the_coefficients_of_a_regression() -> None:
    counts = three_factors(np.random.default_rng(0))
    scores = resample(counts, resamples=10)
    found = [contrast(scores, list(term.weights.values())).estimate for term in terms_of(THREE)]
    levels = np.array(CELLS)
    pairs = [levels[:, i] * levels[:, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    columns = np.stack([np.ones(8), *levels.T, *pairs], axis=1)
    observed = np.array([pooled_miou(each).mean() for each in counts])
    fitted = np.linalg.lstsq(columns, observed, rcond=None)[0]
    assert found == pytest.approx(2 * fitted[1:])


def test_intervals_of_effects_cover_the_truth_19_times_in_20() -> None:
    generator, hits, trials = np.random.default_rng(1), 0, 200
    for _ in range(trials):
        scores = resample(three_factors(generator), resamples=100)
        for term in terms_of(THREE):
            found = contrast(scores, list(term.weights.values()))
            hits += found.low <= TRUTH[term.name] <= found.high
    assert 0.93 <= hits / (trials * len(TRUTH)) <= 0.97


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    make_records(store, seeds=(0, 1), study=TWO)
    return store


def test_the_report_has_main_effects_and_interactions(store: Store) -> None:
    """The fake score adds 10 points of 100 per component and no interaction."""
    files = render(TWO, store).files
    frame = pd.read_csv(io.BytesIO(files["tables/fake_effects.csv"]))
    rows = frame[(frame["metric"] == "miou") & (frame["split"] == "train")]
    main = rows[rows["contrast"] == "main"].set_index("component")
    assert list(main.index) == ["adapter", "matching"]
    assert (main["difference"].round(3) > 0.1).all()
    (apart,) = rows[rows["contrast"] == "interaction"].to_dict("records")
    assert (apart["component"], apart["variant"], apart["baseline"]) == (
        "adapter × matching", "together", "apart",
    )  # fmt: skip
    assert apart["low"] <= apart["difference"] <= apart["high"]
    text = files["tables/fake_factorial.md"].decode()
    assert "| adapter | +" in text
    assert "Interaction (×): half the difference" in text
    figure = files["figures/fake.svg"].decode()
    assert "Main effects" in figure
    assert "Interactions" in figure
    assert "figures/fake_interactions.png" in files


@pytest.mark.parametrize(("low", "high", "framed"), [(0.01, 0.03, 2), (-0.01, 0.03, 1)])
def test_the_map_of_effects_frames_what_leaves_out_zero(
    low: float, high: float, framed: int
) -> None:
    """One main effect that leaves out 0, one that does not, and the interaction of the case."""
    ends = {"a": (0.03, 0.05), "b": (-0.03, 0.05), "a × b": (low, high)}
    rows = [
        {"study": "s", "preset": "cartoon", "contrast": "interaction" if "×" in name else "main",
         "component": name, "task": "t", "metric": "miou", "difference": sum(pair) / 2,
         "low": pair[0], "high": pair[1], "seeds": 3, "images": 600}
        for name, pair in ends.items()
    ]  # fmt: skip
    text = rows_csv(rows)
    assert interaction_tasks(text, ["other", "t"]) == ["t"]
    svg = draw_interactions(text, tasks=["t"], format_="svg").decode()
    assert svg.encode() == draw_interactions(text, tasks=["t"], format_="svg")
    assert fingerprint(text) in svg
    assert svg.count("stroke-width: 1.6") == framed
    for word in ("+4.0", "+1.0", "[+3.0, +5.0]", "[−3.0, +5.0]", "3 seeds × 600 images"):
        assert word in svg


def test_a_missing_variant_leaves_the_rest_of_the_report(store: Store, tmp_path: Path) -> None:
    part = Store(tmp_path)
    for record in store.read_all("fake", ["both", "no-adapter"]):
        part.write(record, store.counts(record))
    records = part.read_all("fake", ["both", "no-adapter"])
    found = effects(TWO, records, counts_by_row(records, part))
    assert {effect.contrast.kind for effect in found} == {"leave-one-out"}
    assert factorial_tables(TWO, records, found) == []
    assert not any(effect.is_tested for effect in found)
    assert "tables/fake_factorial.md" not in render(TWO, part).files
