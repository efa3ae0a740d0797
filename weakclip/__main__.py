"""`python -m weakclip COMMAND`, and `torchrun ... -m weakclip COMMAND` for several processes."""

from __future__ import annotations

import sys

from weakclip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
