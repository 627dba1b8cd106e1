"""`python -m mm_nav.cli` is `mm-nav`."""

from __future__ import annotations

import sys

from mm_nav.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
