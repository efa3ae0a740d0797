from __future__ import annotations

import pytest

from weakclip.ops import compiled


@pytest.fixture(params=["loops", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with compiled loops and with torch's operators."""
    if request.param == "torch":
        monkeypatch.setattr(compiled, "_found", lambda name: None)
    else:
        pytest.importorskip("numba")
