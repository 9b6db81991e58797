"""Starting several ranks, on this host or on two that are made for it."""

import os
import sys
from pathlib import Path

MPIRUN = Path(sys.executable).with_name("mpirun")

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Lets Open MPI be run by root, as in a container, and with more ranks than cores."""


def ranks(count: int) -> list[str]:
    """What starts so many ranks of a Python program."""
    return [str(MPIRUN), "-n", str(count), sys.executable, "-m", "mpi4py"]


def environment() -> dict[str, str]:
    """The environment of a program that starts ranks."""
    return os.environ | ENVIRONMENT
