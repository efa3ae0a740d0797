"""The command line `python -m bench`; `--help` lists the commands."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

from bench import console, flags
from bench.errors import BenchError
from weakclip.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        options = flags.parser().parse_args(words)
        _heed_interrupts()
        console.log_to_stderr(verbose=getattr(options, "verbose", False))
        if options.command == "list":
            from bench.listing import list_studies

            return list_studies(options)
        from bench.commands import COMMANDS  # imports torch, which takes seconds

        return COMMANDS[options.command](options, words)
    except BenchError as error:
        console.say(f"error: {error}")
        return 2
    except OSError as error:  # a full disk, no permission to write, a folder in place of a file
        logger.debug("", exc_info=error)
        console.say(
            f"error: {one_line(str(error))}; finished runs are kept, the same command goes on from "
            "there once the place can be written to"
        )
        return 2
    except KeyboardInterrupt:
        console.say("interrupted; finished runs are kept, the same command goes on from there")
        return 1


def _heed_interrupts() -> None:
    """Let SIGINT interrupt, even if a shell started the command with `&` to ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
