from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from weakclip.stages.seeds import encode_texts
from weakclip.stages.words import MICRO_BACKGROUND, Words, encode_words, read_words

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.clip.bundle import CLIPBundle

TOML = """
template = "a picture of a {}."
background = ["grass", "sky"]

[classes]
hound = "dog"
plant = ["potted plant", "tree"]
"""


CSV = """Class,Phrases
hound,dog

plant,potted plant;tree
background,"grass, sky"
plant,|shrub|
"""


def test_a_csv_says_the_same_as_toml(tmp_path: Path) -> None:
    (tmp_path / "words.CSV").write_bytes(CSV.encode("utf-8-sig"))
    default = Words(template="a {}.", synonyms={"bird": ("bird avian",), "hound": ("cat",)})
    words = read_words(tmp_path / "words.CSV", default)
    assert words == Words(
        template="a {}.",
        background=("grass", "sky"),
        synonyms={
            "bird": ("bird avian",),
            "hound": ("dog",),
            "plant": ("potted plant", "tree", "shrub"),
        },
    )
    (tmp_path / "words.csv").write_text("class,phrases\ndog,hound\n")
    assert read_words(tmp_path / "words.csv", default).background == default.background


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the header 'class,phrases', got ''"),
        ("file,labels\na.jpg,dog\n", "got 'file,labels'"),
        ("class,phrases\n\n", "no line below the header"),
        ("class,phrases\ndog,hound,cat\n", r"words\.csv:2: expected 2 cells, got 3"),
        ("class,phrases\n\ndog, ;\n", r"words\.csv:3: dog: expected a phrase"),
        ("class,phrases\n,dog\n", r"words\.csv:2: expected a class, or 'background', got 'dog'"),
        ("class,phrases\ndog,\xff\n", "not a CSV in UTF-8"),
        ('class,phrases\n"dog,cat\n', "not a CSV"),
    ],
)
def test_wrong_csv_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_words(tmp_path / "words.csv", Words())


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text(TOML)
    words = read_words(tmp_path / "words.toml", Words(synonyms={"bird": ("bird avian",)}))
    assert words.template == "a picture of a {}."
    assert words.background == ("grass", "sky")
    assert words.phrases("plant") == ("potted plant", "tree")
    assert words.phrases("hound") == ("dog",)
    assert words.phrases("bird") == ("bird avian",)
    assert words.phrases("tvmonitor") == ("tv monitor",)
    (tmp_path / "words.toml").write_text("")
    assert read_words(tmp_path / "words.toml", Words()) == Words()


def test_a_class_is_no_background() -> None:
    words = Words(background=("grass", "Tree", "sky"), synonyms={"plant": ("pot", "tree")})
    assert words.background_for(["plant", "sky"]) == ("grass",)


def test_synonyms_are_averaged(clip: CLIPBundle) -> None:
    words = Words(background=("grass",), synonyms={"pet": ("dog", "cat")})
    texts = encode_words(clip, ("pet", "person"), words)
    alone = encode_texts(clip, ("dog", "cat"), ("grass",), words.template)
    mean = alone.foreground.mean(dim=0)
    torch.testing.assert_close(texts.foreground[0], mean / mean.norm())
    torch.testing.assert_close(texts.background, alone.background)
    assert texts.foreground.shape == (2, clip.image.embed_dim)


def test_micro_knows_its_background(clip: CLIPBundle) -> None:
    assert len(MICRO_BACKGROUND) == 25
    encode_words(clip, ("dog",), Words(background=MICRO_BACKGROUND))
    with pytest.raises(ValueError, match=r"'keyboard' in .* is not in the voc"):
        encode_words(clip, ("dog",), Words())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background = 3", "background: expected a phrase or a list of phrases, got 3"),
        ("background = []", "expected a phrase"),
        ("[classes]\ndog = ['']", "classes.dog: expected a phrase"),
        ("classes = 1", r"\[classes\]: expected lines"),
        ("template = 'a dog'", "template: expected one '{}'"),
        ("template = 1", "template: expected a text"),
        ("backgroud = 'x'", "unknown key 'backgroud'; known: background"),
        ("= 3", "not a readable TOML file"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_words(tmp_path / "words.toml", Words())


def test_unknown_classes_and_missing_files_are_told(tmp_path: Path, clip: CLIPBundle) -> None:
    words = Words(background=("sky",), synonyms={"dgo": ("dog",)})
    with pytest.raises(
        ValueError, match=r"'dgo' is no class; did you mean 'dog'\? Known: cat, dog"
    ):
        encode_words(clip, ("cat", "dog"), words)
    with pytest.raises(FileNotFoundError, match="words: no file"):
        read_words(tmp_path / "none.toml", Words())
