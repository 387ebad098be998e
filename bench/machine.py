"""The machine at hand: what a record says of it, and what its records are filed under."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
PACKAGES = ("marlspec", "torch", "numpy", "scipy", "nashpy", "pytest-benchmark", "jax", "jaxlib")
UNIT = 2**30


def session(threads: int) -> dict[str, Any]:
    """Return what decides how fast this process is."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / UNIT, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
        "versions": {"python": platform.python_version(), **versions()},
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "git": revision(),
    }


def cpu_name() -> str:
    """Return what the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def device_name(device: str, threads: int) -> str:
    """Return what the records of a device are filed under: a GPU's name, or a CPU's with the number of threads."""
    name = (
        f"{cpu_name()} {threads} thread{'s' if threads > 1 else ''}"
        if device == "cpu"
        else torch.cuda.get_device_name(device)
    )
    return slug(re.sub(r"\((R|TM)\)", "", name))


def slug(name: str) -> str:
    """Return a name for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter, of those that are installed."""
    return {name: found for name in PACKAGES if (found := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def revision() -> dict[str, Any]:
    """Return the commit that is checked out, and whether tracked files differ from it."""
    return {"revision": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain", "-uno"))}


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
