from __future__ import annotations

from dataclasses import replace

import pytest

from ablations.components import BASELINE
from baselines.plain_fpn import PLAIN_FPN_MICRO, plain_fpn
from weakclip.config import MICRO, PlainDecoder


def test_the_control_is_the_component_study_without_any_component() -> None:
    assert PLAIN_FPN_MICRO == BASELINE
    assert PLAIN_FPN_MICRO.supervision == MICRO.supervision


def test_a_decoder_without_text_guidance_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a text-guided decoder"):
        plain_fpn(replace(MICRO, decoder=PlainDecoder()))
