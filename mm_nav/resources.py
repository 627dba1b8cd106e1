"""Where the files that come with the stack are: models/, worlds/, config/, launch/."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mm_nav.errors import MmNavError


def _roots() -> list[Path]:
    # A checkout; or PREFIX/lib/python3.x/site-packages/mm_nav: what was installed together belongs together.
    above = Path(__file__).resolve().parents
    roots = [above[1], *(folder / "share" / "mm_nav" for folder in above[4:5]), Path(sys.prefix) / "share" / "mm_nav"]
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return roots + [Path(prefix) / "share" / "mm_nav" for prefix in prefixes if prefix]


def resource_path(name: str) -> Path:
    """Return the path of a file or folder such as "models/tiny.onnx".

    Looks in the checkout, beside the installed package, in the Python installation's share folder and in the ament prefixes, in
    this order.
    Raises MmNavError when it is in none of them.
    """
    for root in _roots():
        if (root / name).exists():
            return root / name
    searched = ", ".join(str(root) for root in _roots())
    raise MmNavError(f"{name} is not installed (looked in {searched}): install mm_nav again, or give a path")
