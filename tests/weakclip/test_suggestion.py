from __future__ import annotations

import pytest

from weakclip.suggestion import suggestion


@pytest.mark.parametrize(
    ("got", "known", "text"),
    [
        ("val2", ("train", "val"), "did you mean 'val'? Known: train, val"),
        ("test", ("val", "aug"), "Known: aug, val"),
        ("test", (), "Known: none"),
    ],
)
def test_the_nearest_name_and_all_are_said(got: str, known: tuple[str, ...], text: str) -> None:
    assert suggestion(got, known) == text
