"""Tables and figures of a whole study: what they say, and that files alone decide."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.report import reference
from bench.report.build import render
from bench.report.table import COLUMNS, EFFECT_COLUMNS
from bench.runs.store import Store
from tests.bench.fake import FULL, STUDY, TASKS, make_records
from weakclip.config import Cosine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root: Path = tmp_path_factory.mktemp("results")
    make_records(Store(root), seeds=(0, 1, 2))
    return Store(root)


def table(files: dict[str, bytes], name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(files[f"tables/{name}.csv"]), keep_default_na=False)


def test_two_builds_are_byte_identical(store: Store) -> None:
    assert render(STUDY, store).files == render(STUDY, store).files


def test_the_csv_is_tidy_sorted_and_exact(store: Store) -> None:
    frame = table(render(STUDY, store).files, "fake")
    assert tuple(frame.columns) == COLUMNS
    keys = ["study", "variant", "task", "seed", "metric", "class_name"]
    assert frame[keys].to_records(index=False).tolist() == sorted(
        frame[keys].to_records(index=False).tolist()
    )
    assert not frame.duplicated(keys).any()
    record = store.read("fake", "no-adapter", 1)
    assert record is not None
    row = frame.query("variant == 'no-adapter' and seed == 1 and metric == 'miou'")
    assert dict(zip(row["task"], row["value"].astype(float), strict=True)) == {
        task: scores["miou"] for task, scores in record.metrics.items()
    }
    assert set(row["split"]) == {"train", "val"}


def test_effects_have_signs_intervals_and_corrected_p_values(store: Store) -> None:
    frame = table(render(STUDY, store).files, "fake_effects")
    assert tuple(frame.columns) == EFFECT_COLUMNS
    row = frame.query("variant == 'no-adapter' and metric == 'miou' and split == 'train'").iloc[0]
    assert (row["contrast"], row["component"], row["baseline"]) == (
        "leave-one-out", "adapter", "full",
    )  # fmt: skip
    assert float(row["low"]) < float(row["difference"]) < float(row["high"]) < 0
    assert float(row["p_value"]) < float(row["p_holm"])
    shallow = frame.query("variant == 'shallow'")
    assert set(shallow["contrast"]) == {"variant"}


def test_the_markdown_table_says_what_was_run_and_how(store: Store) -> None:
    text = render(STUDY, store).files["tables/fake.md"].decode()
    scores, contours = text.split("## Study fake: contours (boundary IoU)")
    rows = {line.split(" | ")[0].strip("| "): line for line in scores.splitlines() if "|" in line}
    assert rows["no-adapter"].split(" | ")[1:5] == ["✗", "✓", "✓", "✓"]
    assert rows["shallow"].split(" | ")[3] == "depth=1"
    assert rows["full"].split(" | ")[1:7] == ["✓"] * 4 + ["2.0 k", "**66.6 ± 0.4**"]
    assert re.search(r"−12\.\d \[−\d+\.\d, −\d+\.\d\]\\\*", rows["no-adapter"])
    assert "| variant | pseudo-mask-train<br>boundary IoU % | pseudo-mask-train<br>Δ [95 %] |" in (
        contours
    )
    (row,) = (line for line in contours.splitlines() if line.startswith("| no-adapter |"))
    assert re.fullmatch(
        r"\| no-adapter \| [^|]*\d+\.\d ± \d\.\d[^|]* \| [+−]\d+\.\d \[.*\]\S* \|", row
    )
    for fact in ("Protocol: splits.pseudo-mask-train = train", "tags_used = yes", "Commit: "):
        assert fact in text


def test_latex_is_balanced_and_escaped(store: Store) -> None:
    text = render(STUDY, store).files["tables/fake.tex"].decode()
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.isascii()
    assert not re.search(r"(?<!\\)[#_]", text.partition("\n")[2])
    blocks = text.split(r"\begin{tabular}")[1:]
    assert len(blocks) == text.count(r"\end{tabular}") > 1
    for block in blocks:
        body = [line for line in block.splitlines() if line.endswith(r"\\")]
        columns = re.match(r"\{(l?r+)\}", block)
        assert columns is not None
        names = body[1:] if "multicolumn" in body[0] else body
        assert {line.count(" & ") for line in names} == {len(columns[1]) - 1}
        assert [line.split()[0] for line in names[1:]] == [row.name for row in STUDY.rows]
    assert r"\multicolumn{3}{c}{pseudo-mask-train}" in text
    assert r"\textbf{66.6 $\pm$ 0.4}" in text
    assert r"\underline{53.8" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex; install TeX Live")
def test_latex_compiles_with_article_and_fits_its_text(store: Store, tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_bytes(render(STUDY, store).files["tables/fake.tex"])
    lines = (r"\documentclass{article}\usepackage{booktabs}\begin{document}", r"\input{table}")
    (tmp_path / "page.tex").write_text("\n".join(lines) + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_a_dirty_tree_and_one_seed_are_said(tmp_path: Path, store: Store) -> None:
    there = Store(tmp_path)
    for record in store.read_all("fake", ["full", "no-adapter"], [0]):
        dirty = replace(record, provenance=replace(record.provenance, dirty=True))
        there.write(dirty, store.counts(record))
    text = render(STUDY, there).files["tables/fake.md"].decode()
    assert "**Dirty tree" in text
    assert "One seed only: no ±" in text
    assert "| shallow | ✓ | ✓ | depth=1 | ✓ | – | – |" in text


def test_records_of_an_older_study_are_refused(store: Store) -> None:
    changed = replace(STUDY.variants[0], config=replace(FULL, tau=0.5, matching=Cosine()))
    study = replace(STUDY, variants=(changed, *STUDY.variants[1:]))
    with pytest.raises(BenchError, match=r"fake/no-adapter/seed0: expected config .* older study"):
        render(study, store)


def test_records_made_otherwise_do_not_share_a_table(tmp_path: Path, store: Store) -> None:
    there = Store(tmp_path)
    records = store.read_all("fake", ["full", "no-adapter"], [0])
    there.write(records[0], store.counts(records[0]))
    there.write(replace(records[1], preset="smoke"), store.counts(records[1]))
    with pytest.raises(BenchError, match="share protocol, data and weights"):
        render(STUDY, there)


def test_failed_runs_alone_still_make_a_table(tmp_path: Path, store: Store) -> None:
    record = store.read_all("fake", ["full"], [0])[0]
    lost = replace(
        record, status="failed", error="RuntimeError: no", metrics={}, per_class={},
        counts_sha256=None,
    )  # fmt: skip
    Store(tmp_path).write(lost)
    report = render(STUDY, Store(tmp_path))
    assert "figures/fake.svg" not in report.files
    assert "0 (1 failed)" in report.files["tables/fake.md"].decode()


def test_published_figures_stand_apart_below_the_table(tmp_path: Path) -> None:
    rows = [",".join(reference.COLUMNS)]
    rows += [
        "A-2 + walk,X 2020,VOC2012,train,mIoU,pseudo_mask,70.1,R50,tags,README",
        "A-2,X 2020,VOC2012,val,mIoU,segmentation_val,68.0,R50,tags,README",
        "B,Y 2021,VOC2012,train,mIoU,cam_seed,50.0,R50,tags,paper",
    ]
    (tmp_path / "reference.csv").write_text("\n".join(rows) + "\n")
    section = reference.published_section(tmp_path, ("A-",))
    assert "Published by others" in section
    assert "| A-2 + walk | VOC2012 | train | pseudo_mask | 70.1 | R50 | README |" in section
    assert "68.0" not in section
    assert "50.0" not in section
    assert reference.published_section(tmp_path, ()) == ""
    assert reference.published_section(tmp_path / "none", ("A-",)) == ""


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_task_that_some_seeds_of_a_row_lack_is_refused_and_that_all_lack_is_left_out(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    store = Store(tmp_path)
    make_records(store, [0, 1])
    task = TASKS[0]
    for seed in seeds:
        record = store.read(STUDY.name, "no-adapter", seed)
        assert record is not None
        kept = {name: each for name, each in store.counts(record).items() if task not in name}
        del record.metrics[task], record.per_class[task]
        store.write(record, kept)
    if len(seeds) == 2:
        assert render(STUDY, store).summary.rows
        return
    with pytest.raises(BenchError, match="no-adapter/seed1: has scores of the tasks"):
        render(STUDY, store)
