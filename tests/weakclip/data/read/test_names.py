from __future__ import annotations

import unicodedata

import pytest

from weakclip.data.read.names import did_you_mean, meant_names, name_key, output_stems


def test_images_of_different_folders_have_results_of_their_own() -> None:
    assert output_stems(("a/x.jpg", "b/x.jpg", "y.jpg")) == ("a/x", "b/x", "y")


def test_names_that_differ_in_the_suffix_alone_keep_it() -> None:
    assert output_stems(("x.jpg", "X.PNG", "y.jpg")) == ("x.jpg", "X.PNG", "y")


@pytest.mark.parametrize(
    "names",
    [
        ("x.jpg", "X.jpg"),
        ("café.jpg", unicodedata.normalize("NFD", "café.jpg")),
        ("A/x.jpg", "a/x.jpg", "a/X.png"),
        ("x.jpg", "x.png", "x.jpg.gif"),
    ],
)
def test_results_are_apart_on_every_file_system(names: tuple[str, ...]) -> None:
    stems = output_stems(names)
    assert len({name_key(stem) for stem in stems}) == len(names)
    assert output_stems(names[::-1]) == stems[::-1]


@pytest.mark.parametrize(
    ("missing", "meant"),
    [
        ("a", "a.jpg"),
        ("img\\a.jpg", "a.jpg"),
        (".\\a.jpg", "a.jpg"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("photos/a.jpg", "a.jpg"),
        ("A.JPG", "a.jpg"),
        ("a.png", "a.jpg"),
        ("'a.jpg'", "a.jpg"),
        ("sub\\b.jpg", "sub/b.jpg"),
        ("b.jpg", "sub/b.jpg"),
        ("7.jpg", "0007.jpg"),
        ("c%20d.jpg", "c d.jpg"),
        (unicodedata.normalize("NFD", "café.jpg"), "café.jpg"),
        ("holiday_3O1.jpg", "holiday_301.jpg"),
        ("owl.jpg", None),
        ("..", None),
    ],
)
def test_a_name_that_is_not_there_means_the_only_one_that_is_like_it(
    missing: str, meant: str | None
) -> None:
    on_disk = ("a.jpg", "sub/b.jpg", "0007.jpg", "c d.jpg", "café.jpg", "holiday_301.jpg")
    assert meant_names([missing], on_disk).get(missing) == meant


def test_of_two_that_are_alike_none_is_guessed() -> None:
    assert meant_names(["a.jpg"], ["x/a.jpg", "y/a.jpg"]) == {}
    assert meant_names(["a"], []) == {}


def test_names_that_look_alike_are_told_apart() -> None:
    nfd = unicodedata.normalize("NFD", "é")
    assert did_you_mean("é", nfd) == f"did you mean {nfd!r}, as Unicode form NFD?"
    assert did_you_mean(nfd, "é") == "did you mean 'é', as Unicode form NFC?"
    assert did_you_mean("a", "a.jpg") == "did you mean 'a.jpg'?"
