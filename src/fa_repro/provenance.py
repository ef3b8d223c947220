"""How a result was made: command line, machine, versions, the commit of the code."""

import datetime
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "fa-repro",
    "torch",
    "torchvision",
    "numpy",
    "hydra-core",
    "captum",
    "matplotlib",
    "pandas",
    "pillow",
)


def provenance(
    words: Sequence[str],
    device: str,
    seconds: float,
    inputs: Mapping[str, str],
    git: Mapping[str, Any] | None,
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """Return how a result was made, for ``provenance.json``.

    Args:
        words: the command line.
        device: what it ran on, in words.
        seconds: duration.
        inputs: digests of the files that the result depends on.
        git: of `git_state`.
        packages: whose versions count beside those that every run names.

    """
    return {
        "command": shlex.join(words),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "inputs": dict(inputs),
        "device": device,
        "peak_memory_mib": _peak_memory(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: found for name in (*_PACKAGES, *packages) if (found := package_version(name))},
        "git": git,
    }


def _peak_memory() -> int | None:
    """Return the most memory that this process has had at once, in MiB (a GPU's not counted); None where unknown."""
    try:
        import resource  # Unix alone has it
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def command_line() -> list[str]:
    """Return the words that this program was called with, behind its name."""
    return sys.argv[0].split()[1:] + sys.argv[1:]  # the dispatcher puts the subcommand into argv[0]


def package_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Return the commit of the source tree that runs, and whether it was changed; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", __file__)  # an installed copy may lie in another project's checkout
        # Results that this very run rewrites do not make the code another.
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--", ":/src", ":/configs")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
