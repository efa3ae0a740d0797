"""The page: complete and self-contained as text, and it works in a browser if one is installed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.gallery.index import FOLDER, GalleryIndex, Shown, index_text
from bench.gallery.pictures import error_picture, image_picture, mask_picture
from bench.report.build import render, write
from bench.report.page.page import PAGE, page
from bench.report.reference import COLUMNS
from bench.report.whole import renew, stale
from bench.runs.store import Store
from tests.bench.fake import CLASSES, IMAGES, STUDY, make_records

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.build import Report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
in_browser = pytest.mark.skipif(
    not BROWSER, reason="no Chromium; `apt-get install chromium` to check the page in a browser"
)
VARIANTS = ("full", "baseline")
TAGS = (("cat",), ("dog",), ("cat", "dog"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Report]]:
    """A results folder with a study, a gallery of three images and two published numbers."""
    store = Store(tmp_path_factory.mktemp("results"))
    make_records(store, seeds=(0, 1, 2))
    published = [",".join(COLUMNS), "A,X 2020,VOC2012,val,mIoU,pseudo_mask,70.1,R50,tags,README"]
    published.append("B & <C>,Y 2021,VOC2012,val,mIoU,pseudo_mask,9.5,R50,tags,paper")
    (store.root / "reference.csv").write_text("\n".join(published) + "\n")
    write_gallery(store.root / FOLDER)
    reports = [render(STUDY, store)]
    write(reports[0], store)
    renew(reports, store)
    return store, reports


def write_gallery(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    shown = []
    for number, tags in enumerate(TAGS):
        gt = torch.from_numpy(rng.integers(0, 3, (16, 16)))
        pred = torch.from_numpy(rng.integers(0, 3, (16, 16)))
        pixels = torch.from_numpy(rng.integers(0, 256, (3, 16, 16), dtype=np.uint8))
        files = {"image": image_picture(pixels), "gt": mask_picture(gt), "cam": mask_picture(gt)}
        files["seed"] = mask_picture(gt)
        for name in VARIANTS:
            files |= {f"mask-{name}": mask_picture(pred), f"error-{name}": error_picture(pred, gt)}
        names = {key: f"{number}-{key}.{'webp' if key == 'image' else 'png'}" for key in files}
        for key, content in files.items():
            (folder / names[key]).write_bytes(content)
        shown.append(
            Shown(
                name=f"train_{number}", why=("typical", "worst")[number % 2], tags=tags,
                scores=dict.fromkeys(VARIANTS, 0.5), files=names,
            )
        )  # fmt: skip
    index = GalleryIndex(
        study="fake", variants=VARIANTS, seed=0, preset="cartoon", split="train", commit="0" * 40,
        dirty=False, images=tuple(shown),
    )  # fmt: skip
    (folder / "index.json").write_text(index_text(index))


@pytest.fixture(scope="module")
def text(results: tuple[Store, list[Report]]) -> str:
    return (results[0].root / PAGE).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All start tags with their attributes, and whether end tags match them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_else(text: str) -> None:
    tags = Tags(text)
    assert not tags.open
    for name, attributes in tags.found:
        assert name not in ("link", "iframe", "base", "object", "embed")
        source = attributes.get("src", "data:")
        assert source.startswith("data:"), f"{name} loads {source}"
        target = attributes.get("href", attributes.get("xlink:href", "#"))
        assert target.startswith("#"), f"{name} points to {target}"
    assert "@import" not in text
    assert "url(http" not in text


def test_ids_are_unique_and_links_have_targets(text: str) -> None:
    found = Tags(text).found
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))
    links = {a["href"][1:] for tag, a in found if tag == "a" and "href" in a}
    assert links <= set(ids)
    assert {"summary", "study-fake", "gallery", "published"} <= links


def test_tables_and_pictures_can_be_read_aloud(text: str) -> None:
    found = Tags(text).found
    assert all(attributes.get("scope") for tag, attributes in found if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in found if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in found if tag == "svg")
    tables, captions = text.count("<table"), text.count("<caption")
    assert tables == captions > 5
    assert found[0] == ("html", {"lang": "en"})


def test_numbers_protocol_and_published_rows_are_there(text: str) -> None:
    for fact in ("66.6 ± 0.4", "splits.pseudo-mask-train", "B &amp; &lt;C&gt;", "−12."):
        assert fact in text
    assert "without adapter (no-adapter)</strong> costs 12." in text
    assert all(f'<th scope="row" data-value="{name}">{name}</th>' in text for name in CLASSES)


def test_the_page_says_what_is_taken_for_what_and_shows_the_matrices(text: str) -> None:
    assert "Confusions of full" in text
    assert re.search(r"\d\d\.\d % of <strong>cat</strong> for dog", text)
    drawn = re.findall(r'aria-label="Confusion matrix of the reference on ([\w-]+)', text)
    assert drawn == ["pseudo-mask-train"]


def test_every_image_is_in_a_small_table(text: str) -> None:
    tables = re.findall(r"<details><summary>Per image.*?</details>", text, re.DOTALL)
    assert len(tables) == 1
    assert tables[0].count("<tr>") == 2 + IMAGES
    assert f"all {IMAGES} images of train, numbered from 0" in tables[0]
    assert len(tables[0]) < 300 * (IMAGES + 5)


def test_the_same_folder_gives_the_same_bytes_and_a_change_makes_the_page_stale(
    results: tuple[Store, list[Report]], tmp_path: Path
) -> None:
    store, reports = results
    assert page(reports, store) == page(reports, store)
    assert stale(reports, store) == []
    there = Store(tmp_path)
    shutil.copytree(store.root, tmp_path, dirs_exist_ok=True)
    assert stale(reports, there) == []
    csv = tmp_path / "reference.csv"
    csv.write_text(csv.read_text().replace("70.1", "70.2"))
    assert stale(reports, there) == [PAGE]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("README", "", "line 2: expected source"),
        ("system,", "method,", "expected the columns"),
        (",README", "", "line 2: expected 10 fields"),
    ],
)
def test_a_published_number_without_source_is_refused(
    results: tuple[Store, list[Report]], tmp_path: Path, before: str, after: str, problem: str
) -> None:
    there = Store(tmp_path)
    published = (results[0].root / "reference.csv").read_text()
    (tmp_path / "reference.csv").write_text(published.replace(before, after))
    with pytest.raises(BenchError, match=problem):
        page(results[1], there)


def test_a_missing_picture_is_named(results: tuple[Store, list[Report]], tmp_path: Path) -> None:
    shutil.copytree(results[0].root / FOLDER, tmp_path / FOLDER)
    (tmp_path / FOLDER / "1-gt.png").unlink()
    with pytest.raises(BenchError, match=r"gallery: 1-gt.png not found"):
        page(results[1], Store(tmp_path))


CHECK = """
<script>window.problems = []; window.onerror = (text) => { window.problems.push(text); };</script>
"""


def in_page(source: str, script: str, tmp_path: Path, *, width: int = 1000) -> dict[str, Any]:
    """Load the page, run a script that returns a value, and return that and what was logged.

    The page stands in a frame of the width asked for: a window is never narrower than 500 pixels.
    """
    told = "{found, problems: window.problems, width: window.innerWidth}"
    body = (
        f"<script>const found = (() => {{ {script} }})(); const out = "
        f"document.createElement('pre'); out.id = 'found'; out.textContent = JSON.stringify({told})"
        "; parent.document.body.append(out);</script>"
    )
    changed = source.replace("<head>", f"<head>{CHECK}", 1).replace("</body>", f"{body}</body>", 1)
    frame = f'<iframe style="border:0;width:{width}px" srcdoc="{html.escape(changed)}"></iframe>'
    path = tmp_path / "page.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}', encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=1600,900", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    result = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert result is not None, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(html.unescape(result[1]))
    assert answer["width"] == width
    assert answer["problems"] == []
    assert "CONSOLE" not in done.stderr
    return answer


@in_browser
@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_is_wider_than_the_window(text: str, tmp_path: Path, width: int) -> None:
    script = """
      document.querySelectorAll('details').forEach((part) => { part.open = true; });
      const scrolls = [...document.querySelectorAll('.scroll')];
      return {page: document.documentElement.scrollWidth,
              wider: scrolls.filter((box) => box.getBoundingClientRect().right > innerWidth).length,
              scrolling: scrolls.filter((box) => box.scrollWidth > box.clientWidth).length};
    """
    found = in_page(text, script, tmp_path, width=width)["found"]
    assert found["page"] <= width
    assert found["wider"] == 0
    if width == 380:
        assert found["scrolling"] > 0


@in_browser
def test_a_narrow_table_shows_a_score_keeps_its_names_and_says_that_it_scrolls(
    text: str, tmp_path: Path
) -> None:
    script = """
      const box = document.querySelector('#study-fake .scroll');
      const [name, score] = box.querySelector('tbody tr').cells;
      const place = (cell) => Math.round(cell.getBoundingClientRect().left);
      const start = [place(name), place(score)];
      const right = score.getBoundingClientRect().right;
      box.scrollLeft = 200;
      return {start, moved: [place(name), place(score)], right, text: score.textContent,
              wide: box.classList.contains('wide')};
    """
    found = in_page(text, script, tmp_path, width=390)["found"]
    assert re.fullmatch(r"\d\d\.\d ± \d\.\d", found["text"])
    assert found["right"] < 390
    assert found["wide"]
    assert found["moved"][0] == found["start"][0]
    assert found["moved"][1] < found["start"][1]


@in_browser
def test_a_click_sorts_and_another_turns_the_order(text: str, tmp_path: Path) -> None:
    script = """
      const table = document.querySelector('#study-fake table.sortable');
      const header = [...table.querySelectorAll('th[data-column]')]
        .find((th) => th.textContent.startsWith('mIoU'));
      const column = Number(header.dataset.column);
      const look = () => ({order: header.getAttribute('aria-sort'),
        values: [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value)});
      const button = header.querySelector('button');
      button.focus();
      const focused = document.activeElement === button;
      const before = look(); button.click(); const up = look(); button.click(); const down = look();
      const other = table.querySelector('th[data-column="0"] button');
      other.click();
      return {focused, before, up, down, sorted: table.querySelectorAll('[aria-sort]').length};
    """
    found = in_page(text, script, tmp_path)["found"]
    values = [float(value) for value in found["before"]["values"]]
    assert found["focused"]
    assert found["before"]["order"] is None
    assert values != sorted(values)
    assert (found["up"]["order"], found["down"]["order"]) == ("ascending", "descending")
    assert [float(value) for value in found["up"]["values"]] == sorted(values)
    assert [float(value) for value in found["down"]["values"]] == sorted(values, reverse=True)
    assert found["sorted"] == 1


@in_browser
def test_images_sort_by_their_numbers(text: str, tmp_path: Path) -> None:
    script = """
      const part = [...document.querySelectorAll('details')]
        .find((one) => one.textContent.startsWith('Per image'));
      part.open = true;
      part.querySelector('th[data-column="0"] button').click();
      return [...part.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent);
    """
    assert in_page(text, script, tmp_path)["found"] == [str(image) for image in range(IMAGES)]


@in_browser
def test_the_gallery_shows_one_variant_and_one_class(text: str, tmp_path: Path) -> None:
    script = """
      const gallery = document.querySelector('.gallery');
      const shown = (what) => [...gallery.querySelectorAll(what)]
        .filter((part) => part.offsetParent !== null).length;
      const look = () => [shown('[data-tags]'), shown('[data-variant=full]'),
        shown('[data-variant=baseline]'), gallery.querySelector('output').textContent];
      const broken = [...gallery.querySelectorAll('img')].filter((image) => !image.alt).length;
      const start = look();
      gallery.querySelector('input[value=baseline]').click();
      const toggled = look();
      const select = gallery.querySelector('select');
      select.value = 'dog';
      select.dispatchEvent(new Event('change', {bubbles: true}));
      const filtered = look();
      gallery.querySelector('input[value=""]').click();
      return {broken, start, toggled, filtered, all: look()};
    """
    found = in_page(text, script, tmp_path)["found"]
    assert found["start"] == [3, 6, 0, "3 images"]
    assert found["toggled"] == [3, 0, 6, "3 images"]
    assert found["filtered"] == [2, 0, 4, "2 images"]
    assert found["all"] == [2, 4, 4, "2 images"]
    assert found["broken"] == 0
