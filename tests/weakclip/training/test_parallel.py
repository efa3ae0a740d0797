from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.weakclip.stages.conftest import LABELS, picture
from tests.weakclip.training.train_together import BATCH, CONFIGS, STEPS, train
from weakclip.data.formats.masks import read_mask
from weakclip.training.parallel import ALONE, Processes, SharedBatchNorm2d, torchrun_processes

ROOT = Path(__file__).parents[3]


def torchrun(*words: str, code: int = 0) -> str:
    """Run two processes that talk over the loopback; what they wrote to stdout and stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    around["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [*command, *words], cwd=ROOT, env=around, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    torchrun("tests/weakclip/training/train_together.py", str(folder))
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_end_with_the_weights_of_one_with_the_double_batch(
    together: Path, name: str
) -> None:
    alone, curve = train(name)
    first, second = (torch.load(together / f"{name}-{rank}.pt") for rank in range(2))
    for key, value in alone.items():
        assert torch.equal(first[0][key], second[0][key]), key
        torch.testing.assert_close(first[0][key], value, rtol=0, atol=1e-5, msg=key)
    assert first[1] == second[1]
    assert [row["step"] for row in curve] == [2, 4, STEPS]
    for mine, theirs in zip(curve, first[1], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)


def test_a_share_alone_ends_elsewhere() -> None:
    """The agreement above is not for want of differences."""
    whole, half = train("balanced")[0], train("balanced", part=Processes(0, 2))[0]
    assert any(float((whole[key] - half[key]).abs().max()) > 1e-4 for key in whole)


def test_the_state_is_written_once_and_read_by_all(together: Path) -> None:
    assert [path.name for path in together.glob("*.state")] == ["balanced.state"]


def test_the_command_shares_images_and_writes_lists_once(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for seed, name in enumerate(("a.jpg", "sub/b c.png", "sub/ü.png")):
        picture(photos / name, (90, 130), seed)
    (photos / "labels.csv").write_text(LABELS, encoding="utf-8")
    flags = ["-m", "weakclip", "masks", "--images", str(photos), "--clip", "random-micro"]
    flags += ["--device", "cpu", "--method", "weakclip", "--iterations", "2", "--tile", "64"]
    out = tmp_path / "out"
    said = torchrun(*flags, "--no-crf", "--max-side", "96", "--out", str(out))
    assert json.loads(next(line for line in said.splitlines() if line.startswith("{"))) == {
        "done": 3, "kept": 0, "skipped": 0, "failed": 0,
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["masks"]["done"], record["regions"] > 0) == ("done", 3, True)
    for name in ("a", "sub/b c", "sub/ü"):
        assert read_mask(out / "masks" / f"{name}.png").shape == (90, 130)
    assert not list(out.glob("*.state"))
    shutil.rmtree(out / "masks")
    (photos / "a.jpg").write_bytes(b"")
    again = torchrun(*flags, "--no-crf", "--max-side", "96", "--out", str(out), "--resume", code=1)
    assert '"done": 2, "kept": 0, "skipped": 0, "failed": 1' in again


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    Processes(0, 2).check_batch(BATCH)
    with pytest.raises(ValueError, match="4 images: expected a multiple of the 3 processes"):
        Processes(0, 3).check_batch(BATCH)


def test_alone_nothing_is_shared() -> None:
    with torchrun_processes() as processes:
        assert processes is ALONE
    norm, count = nn.BatchNorm2d(3), torch.tensor(0)
    ALONE.align([nn.Sequential(norm)], 0)
    assert type(norm) is nn.BatchNorm2d
    assert int(ALONE.per_process(count)) == 1
    assert (ALONE.gather("a"), ALONE.share([1, 2])) == (["a"], [1, 2])
    state = torch.get_rng_state()
    ALONE.reseed(0, 1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_shared_norm_holds_the_weights_of_the_norm_it_replaces() -> None:
    norm = nn.BatchNorm2d(3).eval()
    shared = SharedBatchNorm2d.of(norm, 2)
    features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        norm.weight.fill_(2.0)
    assert torch.equal(shared(features), norm(features))
    assert shared.weight is norm.weight


def test_a_shared_norm_takes_bfloat16_as_torchs_own_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    norm = nn.BatchNorm2d(3)
    shared = SharedBatchNorm2d.of(nn.BatchNorm2d(3), 1)
    features = 5 + torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found, expected = (each(features.bfloat16()) for each in (shared, norm))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(shared.running_mean, norm.running_mean)
    torch.testing.assert_close(shared.running_var, norm.running_var)
