"""What must be on the disk before anything that relies on it is done."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """
    Make the names in a folder durable: a rename in it then outlives a loss of power.

    Raises OSError.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
