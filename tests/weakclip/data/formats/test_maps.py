"""Every layout of the field becomes the same value, and files that are none are named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from weakclip.data.formats.maps import FORMATS, read_maps
from weakclip.data.formats.masks import write_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[3] / "data" / "interop"


@pytest.fixture(scope="module")
def maps() -> NDArray[np.float32]:
    """The maps that all examples are made of: cat and person, (2, 30, 37)."""
    content = np.load(EXAMPLES / "seam_np1.npy", allow_pickle=True).item()
    return np.stack([content[7], content[14]])


def save(path: Path, content: dict[Any, Any]) -> Path:
    np.save(path, content)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("irn_np1", "irn"),
        ("irn_np2", "recam"),
        ("irn_torch", "clims"),
        ("seam_np1", "seam"),
        ("seam_np1", "mctformer"),
        ("puzzle_np2", "puzzle"),
        ("puzzle_rw_np1", "irn"),
        ("excel_lam_np2", "excel"),
    ],
)
def test_one_value_comes_of_every_layout_by_name_and_detected(
    maps: NDArray[np.float32], name: str, layout: str
) -> None:
    for asked in (layout, "auto"):
        read = read_maps(EXAMPLES / f"{name}.npy", asked)
        assert read.labels == (8, 15)
        assert read.maps.dtype == np.float32
        assert np.array_equal(read.maps, maps)
        assert read.misfit((30, 37)) is None
        assert read.misfit((37, 30)) == "maps (30, 37), image (37, 30)"


def test_half_precision_keeps_its_rounded_values(maps: NDArray[np.float32]) -> None:
    read = read_maps(EXAMPLES / "clipes_np1.npy")
    assert np.array_equal(read.maps, maps.astype(np.float16).astype(np.float32))


def test_keys_are_sorted_with_their_maps(tmp_path: Path) -> None:
    maps = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    path = save(tmp_path / "a.npy", {"keys": np.array([9, 0, 4]), "attn_highres": maps})
    read = read_maps(path)
    assert read.labels == (1, 5, 10)
    assert np.array_equal(read.maps, maps[[1, 2, 0]])


def test_small_integer_keys_do_not_wrap(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npy", {"keys": np.array([252], np.uint8), "cam": np.ones((1, 1, 1), "f4")}
    )
    assert read_maps(path).labels == (253,)


def test_posteriors_of_a_crf_have_labels_and_a_background(maps: NDArray[np.float32]) -> None:
    trusted = np.load(EXAMPLES / "psa_crf_np2.npy", allow_pickle=True).item()
    read = read_maps(EXAMPLES / "psa_crf_np2.npy")
    assert (read.labels, read.kind) == ((8, 15), "probability")
    assert read.background is not None
    assert np.array_equal(read.background, trusted[0])
    assert np.array_equal(read.maps[1], trusted[15])


def test_a_class_numbered_0_alone_can_be_a_class_or_the_background(tmp_path: Path) -> None:
    one = np.full((2, 2), 0.5, np.float32)
    path = save(tmp_path / "a.npy", {0: one, 3: one / 2})
    with pytest.raises(ValueError, match="name the format"):
        read_maps(path)
    assert read_maps(path, "psa").labels == (1, 4)
    assert read_maps(path, "crf").labels == (3,)
    save(path, {0: one, 3: one})
    assert read_maps(path).kind == "probability"  # they sum to 1


def test_probabilities_of_a_network_have_its_labels() -> None:
    read = read_maps(EXAMPLES / "segprob_np2.npy")
    assert (read.labels, read.kind) == ((8, 15), "probability")
    assert read.background is not None
    assert np.allclose(read.background + read.maps.sum(axis=0), 1)


def test_rows_that_cannot_be_probabilities_are_logits(tmp_path: Path) -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    path = save(tmp_path / "a.npy", {"prob": logits.numpy(), "keys": np.array([0, 2, 5])})
    read = read_maps(path)
    assert read.kind == "logit"
    shares = read.as_probabilities()
    expected = logits.softmax(dim=0).numpy()
    assert shares.kind == "probability"
    assert shares.background is not None
    assert np.allclose(shares.background, expected[0], atol=1e-6)
    assert np.allclose(shares.maps, expected[1:], atol=1e-6)


def test_a_background_that_never_wins_is_absent_from_the_file(tmp_path: Path) -> None:
    rows = np.stack([np.full((2, 2), 3.0), np.full((2, 2), -1.0)]).astype(np.float32)
    read = read_maps(save(tmp_path / "a.npy", {"prob": rows, "keys": np.array([2, 5])}))
    shares = read.as_probabilities()
    assert shares.background is not None
    assert (shares.background == 0).all()
    assert np.allclose(shares.maps.sum(axis=0), 1)


def test_scores_of_all_labels_are_logits_on_their_own_grid(tmp_path: Path) -> None:
    trusted = np.load(EXAMPLES / "mscseg_np1.npy", allow_pickle=True).item()["msc_seg"][0]
    np.save(tmp_path / "plain.npy", trusted)
    for path in (EXAMPLES / "mscseg_np1.npy", tmp_path / "plain.npy"):
        read = read_maps(path)
        assert read.labels == tuple(range(1, 21))
        assert read.background is not None
        assert np.array_equal(read.background, trusted[0])
        assert read.misfit((64, 80)) is None
        assert read.misfit((80, 64)) == "maps (8, 10) of another shape than the image (80, 64)"


def test_the_coarse_grid_is_read_on_request(maps: NDArray[np.float32]) -> None:
    read = read_maps(EXAMPLES / "irn_np2.npy", grid="coarse")
    assert np.array_equal(read.maps, maps[:, ::4, ::4])
    assert read.misfit((30, 37)) is None
    assert read.misfit((37, 30)) is not None


def test_an_image_without_classes_has_no_maps() -> None:
    read = read_maps(EXAMPLES / "irn_torch_empty.npy")
    assert read.labels == ()
    assert read.maps.shape == (0, 30, 37)


def test_a_png_of_seeds_has_maps_of_0_and_1(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", np.array([[0, 3, 255]], dtype=np.uint8))
    read = read_maps(tmp_path / "a.png")
    assert read.labels == (3,)
    assert read.maps.tolist() == [[[0, 1, 0]]]
    assert read.background is not None
    assert read.background.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("name", ["refuse_rgb_colours.png", "refuse_global.npy"])
def test_what_is_no_map_is_refused_with_its_path(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        read_maps(EXAMPLES / name)


ONE = np.ones((1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("content", "layout", "message"),
    [
        ({"maps": ONE}, "auto", "no known format of maps: it has 'maps'"),
        ({"prob": ONE, "keys": np.array([1])}, "irn", "not of format irn: it lacks"),
        ({3: ONE[0]}, "crf", "not of format crf"),
        ({"keys": np.array([1, 2, 3]), "cam": ONE}, "auto", "a map for each of 3 keys, got 1"),
        ({"keys": np.array([1.5]), "cam": ONE}, "auto", "whole numbers"),
        ({"keys": np.array([1]), "cam": ONE[0]}, "auto", "floats with 3 axes"),
        ({"keys": np.array([1, 1]), "cam": np.ones((2, 1, 1))}, "auto", "different labels"),
        ({"keys": np.array([-2]), "cam": ONE}, "auto", "different labels"),
        ({"keys": np.array([254]), "cam": ONE}, "auto", "labels from 1 to 254"),
        ({"keys": np.array([1]), "cam": np.ones((1, 0, 3))}, "auto", "maps of 0 x 3"),
        ({1: ONE[0], 2: np.ones((3, 2))}, "auto", "several sizes"),
        ({"valid_lam": ONE, "keys_gt": np.array([1])}, "auto", "1 maps and a background"),
        ({1: ONE[0]}, "sean", "unknown format 'sean'; did you mean 'seam'"),
    ],
)
def test_malformed_files_say_what_was_expected(
    tmp_path: Path, content: dict[Any, Any], layout: str, message: str
) -> None:
    path = save(tmp_path / "a.npy", content)
    with pytest.raises(ValueError, match=message) as raised:
        read_maps(path, layout)
    assert str(raised.value).startswith(str(path))


def test_every_format_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[4] / "docs" / "your-own-maps.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in FORMATS)
