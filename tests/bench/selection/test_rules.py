from __future__ import annotations

from dataclasses import replace

import pytest

from bench.selection.rules import RULES, Rule, Signals, chosen

FIRST = Signals(
    step=1, is_average=False, held_out_seed_loss=0.5, crf_energy=3.0, tag_agreement=0.2,
    oracle_miou=0.4,
)  # fmt: skip
STATES = [
    replace(FIRST, held_out_seed_loss=0.1),
    replace(FIRST, step=2, crf_energy=1.0),
    replace(FIRST, step=3, tag_agreement=0.9),
    replace(FIRST, step=4, oracle_miou=0.6),
    replace(FIRST, step=5),
    Signals(
        step=5, is_average=True, held_out_seed_loss=0.0, crf_energy=0.0, tag_agreement=1.0,
        oracle_miou=1.0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "step"),
    [("held-out-seed-loss", 1), ("crf-energy", 2), ("tag-agreement", 3), ("oracle", 4)],
)
def test_a_rule_takes_its_own_best_state_and_never_the_average(rule: Rule, step: int) -> None:
    state = chosen(rule, STATES)
    assert (state.step, state.is_average) == (step, False)


def test_the_last_step_the_average_and_of_equal_states_the_last() -> None:
    assert chosen("last-step", STATES) is STATES[4]
    assert chosen("ema", STATES) is STATES[5]
    same = [replace(FIRST, step=step) for step in (1, 2, 3)]
    for rule in RULES:
        if rule != "ema":
            assert chosen(rule, same).step == 3
    with pytest.raises(ValueError, match="ema: expected a state to choose, got none"):
        chosen("ema", same)


def test_only_the_oracle_looks_at_what_is_made_from_the_annotation() -> None:
    blind = [replace(state, oracle_miou=0.0) for state in STATES]
    for rule in RULES:
        if rule != "oracle":
            assert chosen(rule, blind).step == chosen(rule, STATES).step
