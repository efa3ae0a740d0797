"""Lines on a GPU: times and energy, with stand-ins for the parts of CUDA and NVML that they use."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from bench.cost.lines import seconds
from bench.cost.load import Task
from bench.cost.plan import options_for
from bench.cost.table import csv_text, markdown
from bench.cost.worker import EnergyMeter, measure
from tests.bench.cost.test_profile import line, made_up

WATTS = 300


class Stream:
    """Work of a GPU, done when somebody waits for it, and the time that it takes."""

    def __init__(self) -> None:
        self.seconds, self.queued = 0.0, 0.0

    def launch(self, seconds: float) -> None:
        """Ask for work; asking takes a microsecond."""
        self.seconds += 1e-6
        self.queued += seconds

    def synchronize(self) -> None:
        """Wait for all of it."""
        self.seconds, self.queued = self.seconds + self.queued, 0.0


def nvml(stream: Stream, *uuids: str) -> SimpleNamespace:
    """What is used of `pynvml` for GPUs of these UUIDs; those but `GPU-bbbb` have counted nothing.

    An unknown UUID is a ValueError, where NVML has an error of its own.
    """
    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=uuids.index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: (
            1e3 * WATTS * stream.seconds if uuids[handle] == "GPU-bbbb" else 0
        ),
    )


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The GPU that is CUDA's first; NVML, which does not read CUDA_VISIBLE_DEVICES, may differ."""
    gpu = Stream()
    monkeypatch.setattr("time.perf_counter", lambda: gpu.seconds)
    monkeypatch.setattr(torch.cuda, "synchronize", gpu.synchronize)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 << 20)
    properties = SimpleNamespace(uuid="bbbb")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: properties)
    return gpu


def test_a_line_has_fifty_calls_each_waited_for(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = iter(range(1, 100))  # milliseconds; the first two count traffic and warm up
    task = Task(call=lambda: stream.launch(next(took) / 1e3))
    monkeypatch.setattr("bench.cost.worker._task", lambda _: task)
    repeats = options_for("cuda", quick=False, compiled=False).repeats
    measured = measure(line(device="cuda", repeats=repeats))
    assert measured.milliseconds == pytest.approx([each + 1e-3 for each in range(3, 53)])
    assert seconds(asdict(measured)) == pytest.approx(0.027, abs=2e-6)  # the 25th of 50
    assert seconds(asdict(measured), 0.95) == pytest.approx(0.050, abs=2e-6)  # the 48th
    assert (measured.peak_memory_mib, measured.base_memory_mib) == (3, None)


@pytest.mark.parametrize(
    "uuids", [("GPU-bbbb",), ("GPU-aaaa", "GPU-bbbb", "GPU-cccc"), ("GPU-cccc", "GPU-bbbb")]
)
def test_energy_is_that_of_the_gpu_in_use_over_its_timed_calls(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, uuids: tuple[str, ...]
) -> None:
    task = Task(call=lambda: stream.launch(0.010))
    monkeypatch.setattr("bench.cost.worker._task", lambda _: task)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(stream, *uuids))
    measured = measure(line(device="cuda", repeats=50))
    assert measured.energy_joules == pytest.approx(WATTS * 50 * 0.010, rel=1e-3)


@pytest.mark.parametrize("uuids", [None, ("GPU-aaaa", "GPU-cccc"), ("MIG-bbbb",)])
def test_without_a_counter_of_that_gpu_there_is_no_energy(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, uuids: tuple[str, ...] | None
) -> None:
    """No NVML, another GPU's, or a part of a GPU, whose counter would be the whole one's."""
    monkeypatch.setitem(sys.modules, "pynvml", None if uuids is None else nvml(stream, *uuids))
    assert EnergyMeter("cuda").joules() is None


def test_a_gpu_without_a_counter_of_energy_has_none(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise RuntimeError("Not Supported")

    old = nvml(stream, "GPU-bbbb")
    old.nvmlDeviceGetTotalEnergyConsumption = refuse
    monkeypatch.setitem(sys.modules, "pynvml", old)
    assert EnergyMeter("cuda").joules() is None


def test_energy_is_told_by_image_and_absent_without_a_figure() -> None:
    profile = made_up()
    assert "| 50 | - | arithmetic |" in markdown(profile)
    assert "J/image" not in csv_text(profile)
    profile["speeds"][0]["energy_joules"] = 12.0  # two calls of two images
    assert "| 50 | 3 | arithmetic |" in markdown(profile)
    rows = csv.DictReader(io.StringIO(csv_text(profile)))
    assert [row["value"] for row in rows if row["metric"] == "energy"] == ["3.0"]
