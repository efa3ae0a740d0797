from __future__ import annotations

from dataclasses import replace

import pytest

from bench.studies.slots import (
    COMPONENTS,
    config_id,
    differing_slots,
    mark,
    plain_config,
    slot_names,
)
from weakclip.config import (
    PAPER,
    RELEASE,
    CoAttention,
    Resample,
    SingleScale,
    TextGuidedDecoder,
)
from weakclip.network.checkpoints import describe


def test_kinds_with_equal_fields_have_different_ids() -> None:
    one = replace(PAPER, adapter=Resample())
    two = replace(PAPER, adapter=SingleScale())
    assert config_id(plain_config(one)) != config_id(plain_config(two))
    assert plain_config(one)["adapter"] == {"kind": "Resample"}


def test_the_id_is_twelve_hex_digits_and_depends_on_values_only() -> None:
    described = plain_config(PAPER)
    shuffled = dict(reversed(described.items()))
    assert config_id(described) == config_id(shuffled)
    assert len(config_id(described)) == 12
    assert config_id(described) != config_id(plain_config(replace(PAPER, tau=0.01)))


def test_differing_slots_come_components_first() -> None:
    assert slot_names(PAPER)[:4] == COMPONENTS
    assert differing_slots(RELEASE, PAPER) == ("adapter", "matching", "class_token", "drop_path")
    assert differing_slots(PAPER, PAPER) == ()


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        (Resample(), Resample(), "✗"),
        (PAPER.adapter, PAPER.adapter, "✓"),
        (SingleScale(), PAPER.adapter, "SingleScale"),
        (CoAttention(depth=1, sides="text"), CoAttention(), "sides=text, depth=1"),
        (TextGuidedDecoder(levels=(0, 3)), TextGuidedDecoder(), "levels=0/3"),
        (0.01, 0.07, "0.01"),
        (0.07, 0.07, "0.07"),
    ],
)
def test_marks(value: object, reference: object, expected: str) -> None:
    assert mark(value, reference) == expected


def test_what_json_cannot_say_is_refused() -> None:
    assert describe({"a": (1, [None, "x"])}) == {"a": [1, [None, "x"]]}
    with pytest.raises(TypeError, match="expected a JSON type, got set"):
        describe({"a": {1}})
