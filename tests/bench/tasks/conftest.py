from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of artifacts that the tests of a module share, worked in by one thread."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("artifacts")
