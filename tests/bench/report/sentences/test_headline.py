"""What the README says came out is what the records of the same commit say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.report.build import Report, render
from bench.report.gain import SEEDS, gain
from bench.report.page.page import PAGE
from bench.report.sentences.headline import BEGIN, END, README, headline, readme_of, with_headline
from bench.report.whole import renew, stale
from bench.runs.store import Store
from bench.studies.study import MAIN, load_study
from tests.bench.report import gain_records
from tests.bench.report.test_gain import SCORES

ROOT = Path(__file__).parents[4]


pytestmark = pytest.mark.usefixtures("quick_draw")


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """README and records as the last commit has them, whatever was run in this folder since."""
    paths = [README, f"results/runs/{MAIN}.*", f"results/runs/{SEEDS}.*"]
    command = ["git", "archive", "--format=tar", "HEAD", *paths]
    try:
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout: there is no commit to compare with")
    subprocess.run(["tar", "-x"], cwd=tmp_path, input=packed, check=True)
    return tmp_path


def test_the_readme_of_a_commit_says_what_its_records_say(committed: Path) -> None:
    store = Store(committed / "results")
    found = gain([render(load_study(name), store) for name in (MAIN, SEEDS)], store)
    assert found is not None
    text = (committed / README).read_text()
    assert with_headline(text, headline(found)) == text, (
        "README.md is stale: run `python -m bench report`"
    )


def test_new_records_renew_readme_page_and_figure_together(tmp_path: Path) -> None:
    store, readme = Store(tmp_path / "results"), tmp_path / README
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    names = ["tables/gain.csv", "figures/gain.svg", "figures/gain.png", PAGE]

    def reports() -> list[Report]:
        return [render(load_study(name), store) for name in (MAIN, SEEDS)]

    gain_records.write(store, SCORES)
    written = renew(reports(), store)
    assert written == [*(store.root / name for name in names), readme]
    assert stale(reports(), store) == []
    before = readme.read_text()
    assert max(map(len, before.splitlines())) <= 100
    assert before.startswith(f"before\n{BEGIN}\n\n**A plain FPN")
    assert before.endswith(f"\n\n{END}\nafter\n")
    gain_records.write(store, {**SCORES, "full": 0.9})
    assert stale(reports(), store) == [*names, README]
    renew(reports(), store)
    assert stale(reports(), store) == []
    assert readme.read_text() != before


def test_only_the_part_between_the_markers_changes() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_headline(text, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert with_headline(with_headline(text, "new"), "new") == with_headline(text, "new")


def test_a_readme_without_markers_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="expected the lines"):
        with_headline("nothing", "new")
    (tmp_path / README).write_text("somebody's own")
    assert readme_of(tmp_path / "results") is None
