"""`python -m bench`."""

from __future__ import annotations

import sys
from contextlib import suppress

from bench.errors import BenchError
from bench.flags import parser

if __name__ == "__main__":
    if not {"-h", "--help", "--version"}.isdisjoint(sys.argv):
        with suppress(BenchError):  # `main` prints the error
            parser().parse_args()  # prints and exits before rich is imported
    from bench.cli import main

    sys.exit(main())
