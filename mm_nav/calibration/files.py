"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mm_nav.errors import ConfigError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file; a reader sees the old one or the whole new one. Raises ConfigError when it cannot be written."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): give a file in a folder you may write"
        ) from error
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)
