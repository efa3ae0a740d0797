"""Wrong tags: how many there are, which, and that nothing made from right ones is used."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.studies.method import MethodRow
from bench.studies.slots import config_id, plain_config
from bench.studies.tags import WrongTags, shares_wrong
from weakclip.stages.maps import CLIPMaps
from weakclip.stages.refine import Keep

IMAGES, CLASSES = 4000, 6
NAMES = [f"image {number}" for number in range(IMAGES)]


def tags() -> torch.Tensor:
    """One to four tags an image; classes 0 and 1 go together, class 5 is always alone."""
    generator = np.random.default_rng(1)
    found = torch.zeros(IMAGES, CLASSES, dtype=torch.bool)
    for row in found:
        count = int(generator.choice([1, 2, 3, 4], p=[0.5, 0.3, 0.15, 0.05]))
        chosen = generator.choice(5, count, replace=False)
        row[torch.from_numpy(chosen)] = True
        if row[0]:
            row[1] = True
    found[::10] = False
    found[::10, 5] = True
    return found


TAGS = tags()


def wrong(kind: str, rate: float, draw: int = 0) -> torch.Tensor:
    made = WrongTags(kind=kind, rate=rate, draw=draw)  # type: ignore[arg-type]
    return made.applied(NAMES, TAGS, TAGS)


def within(count: int, chances: np.ndarray) -> bool:
    """Whether a count is within four standard deviations of what independent chances give."""
    spread = math.sqrt(float((chances * (1 - chances)).sum())) + 1
    return abs(count - float(chances.sum())) < 4 * spread


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.6])
def test_as_many_tags_are_missing_as_it_says_and_an_image_keeps_one(rate: float) -> None:
    found = wrong("missing", rate)
    assert not (found & ~TAGS).any()
    assert torch.equal(found.any(dim=1), TAGS.any(dim=1))
    counts = TAGS.sum(dim=1).numpy()
    chances = np.repeat(rate - rate**counts / counts, counts)
    lost = int((TAGS & ~found).sum())
    assert within(lost, chances)
    assert shares_wrong(found, TAGS) == {"tags_missing": lost / int(TAGS.sum()), "tags_surplus": 0}


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_as_many_tags_are_surplus_as_it_says(rate: float) -> None:
    found = wrong("surplus", rate)
    assert not (TAGS & ~found).any()
    surplus = int((found & ~TAGS).sum())
    assert within(surplus, np.full(int(TAGS.sum()), rate))
    assert shares_wrong(found, TAGS)["tags_surplus"] == surplus / int(TAGS.sum())


def test_surplus_tags_are_what_usually_shares_an_image_with_the_tag() -> None:
    found = wrong("surplus", 0.2)
    shared = (TAGS.double().T @ TAGS.double()).fill_diagonal_(0)
    for tag in range(5):
        only = torch.zeros(CLASSES, dtype=torch.bool)
        only[tag] = True
        alone = (only == TAGS).all(dim=1)
        if int(alone.sum()) < 100:
            continue
        added = (found & ~TAGS)[alone].sum(dim=0).double()
        expected = shared[tag] / shared[tag].sum()
        error = 4 * (expected * (1 - expected) / added.sum()).sqrt() + 1e-9
        assert ((added / added.sum() - expected).abs() <= error).all()
        assert added[5] == 0  # it never shares an image
    lonely = (found & ~TAGS)[TAGS[:, 5]].sum(dim=0)
    assert 0.1 < lonely.sum() / TAGS[:, 5].sum() < 0.3
    assert (lonely[:5] > 0).all()  # a tag that is always alone gets what is frequent


@pytest.mark.parametrize("kind", ["missing", "surplus"])
def test_the_draw_is_of_the_image_and_a_larger_rate_keeps_the_mistakes(kind: str) -> None:
    found = wrong(kind, 0.2)
    assert torch.equal(found, wrong(kind, 0.2))
    assert not torch.equal(found, wrong(kind, 0.2, draw=1))
    assert torch.equal(wrong(kind, 0), TAGS)
    made = WrongTags(kind=kind, rate=0.2)  # type: ignore[arg-type]
    some = made.applied(NAMES[100:50:-1], TAGS[51:101].flip(0), TAGS)
    assert torch.equal(some.flip(0), found[51:101])
    if kind == "missing":
        assert not (found & ~wrong(kind, 0.1)).any()
    more = (found ^ TAGS).sum()
    assert (wrong(kind, 0.1) ^ TAGS).sum() < more


def test_a_row_with_right_tags_has_the_id_it_had_and_others_have_their_own() -> None:
    row = MethodRow(cam=CLIPMaps(), refinement=Keep())
    assert "tags" not in plain_config(row)
    ids = {
        config_id(plain_config(MethodRow(cam=CLIPMaps(), refinement=Keep(), tags=tags)))
        for tags in (None, WrongTags(kind="missing", rate=0.1), WrongTags(kind="surplus", rate=0.1))
    }
    assert len(ids) == 3
    with pytest.raises(ValueError, match="rate of wrong tags: expected 0 to 1, got 10"):
        WrongTags(kind="missing", rate=10)
