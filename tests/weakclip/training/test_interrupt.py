from __future__ import annotations

import os
import signal
import threading

import pytest

from weakclip.training.interrupt import held_interrupts


@pytest.mark.usefixtures("heeded_interrupts")
def test_the_first_interrupt_is_held_back_and_the_second_is_not() -> None:
    with held_interrupts() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_held_back_outside_the_main_thread() -> None:
    found: list[bool] = []

    def work() -> None:
        with held_interrupts() as stopped:
            found.append(stopped())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
