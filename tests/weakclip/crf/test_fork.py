"""`dense_crf_inference` in processes that were forked, as in a pool around pydensecrf."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from weakclip.crf.dense import PSA, dense_crf_inference

POOL = """
import multiprocessing
import numpy as np
import torch
from weakclip.crf.dense import dense_crf_inference

def infer(seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    return dense_crf_inference(image, random.random((2, 200, 300), dtype=np.float32)).sum()

torch.set_num_threads(2)
(torch.rand(2000, 2000) + 1).sum()  # starts the threads that a fork loses
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*pool.map(infer, range(2)))
assert torch.get_num_threads() == 2  # the parent's
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_a_pool_that_was_forked_after_large_operations_does_not_hang() -> None:
    words = [sys.executable, "-c", POOL]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [float(word) for word in done.stdout.split()] == pytest.approx([60_000, 60_000])


def test_arrays_in_any_memory_order_are_read() -> None:
    random = np.random.default_rng(0)
    bgr = random.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    probs = random.random((12, 15, 4), dtype=np.float32)
    expected = dense_crf_inference(
        np.ascontiguousarray(bgr[:, ::-1, ::-1]),
        np.ascontiguousarray(probs.transpose(2, 0, 1)),
        PSA,
    )
    bgr.flags.writeable = probs.flags.writeable = False
    before = probs.copy()
    found = dense_crf_inference(bgr[:, ::-1, ::-1], probs.transpose(2, 0, 1), PSA)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(probs, before)
