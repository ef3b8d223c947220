"""The run directory ``RESULTS/SUBCOMMAND/NAME/``: what was asked, what it ran on, what came out.

A finished run with the same config is skipped; with another config it is an error; an unfinished one resumes. Every
file is written beside its place and moved there, so that a run stopped at any moment leaves no half a file.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from fa_repro.errors import InputError

DONE = "DONE.json"
# Of a config, what does not change a run's result.
_NOT_IDENTITY = ("results", "name", "overwrite", "device")
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


def data_label(data: Mapping[str, Any] | DictConfig) -> str:
    """Return what to call a data set: its name; an image folder's own, as two folders are two data sets."""
    if data["name"] == "image_folder" and data["root"]:
        return Path(data["root"]).resolve().name
    return str(data["name"])


def default_name(cfg: DictConfig) -> str:
    """Return DATA-MODEL-seedN for a composed config."""
    parts = [data_label(cfg.data), *([cfg.model.name] if "model" in cfg else []), f"seed{cfg.seed}"]
    return "-".join(parts)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on leaving without an error, move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp's files are private; results are for reading
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class RunDir:
    """One run directory, opened for work.

    Attributes:
        path: the directory.
        finished: whether it already holds the finished run that was asked for; nothing is to be done then.

    """

    def __init__(
        self, cfg: DictConfig, command: str, name: str, inputs: dict[str, str] | None = None, writes: bool = True
    ) -> None:
        """Open ``cfg.results/command/name``.

        Args:
            cfg: the composed config; its resolved values identify the run, together with ``inputs``.
            command: the subcommand, as typed.
            name: of the run; must be a single folder's name.
            inputs: what else the result depends on, such as a checkpoint's digest.
            writes: False in all processes but one of those that share a run; they look and write nothing.

        Raises:
            InputError: another config has been run under this name, or the directory can't be written.

        """
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise InputError(f"name={name}: must be the name of one folder.")
        self.path = Path(cfg.results) / command / name
        self.command = command
        resolved = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(resolved, dict)
        identity = {str(k): v for k, v in resolved.items() if k not in _NOT_IDENTITY} | {"inputs": inputs or {}}
        self._resolved = resolved
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._overwrite = bool(cfg.overwrite)
        self._writes, self._started = writes, False
        self._began = time.monotonic()
        self._git = git_state()  # of the code that runs, not of what stands there when it is done
        try:
            self.finished = self._look()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}. Give another results= folder.") from None

    def _look(self) -> bool:
        before = self._read(".identity.json")
        if before is not None and before != self._identity and not self._overwrite:
            raise InputError(
                f"{self.path} holds a run with another {_difference(before, self._identity)}. "
                f"Give overwrite=true to replace it, or name=OTHER."
            )
        done = self._read(DONE)
        if done is None or before is None or self._overwrite:
            return False
        missing = [name for name in done["files"] if not (self.path / name).exists()]
        if missing:
            print(f"{self.path}: {missing[0]} is missing; running again.", file=sys.stderr)
        return not missing

    def start(self) -> None:
        """Take the directory over: from here on it holds this run, unfinished. The first write does it too.

        Called once the input is known to be usable, so that a mistake in the words costs no earlier run.

        Raises:
            InputError: the directory can't be written.

        """
        if self._started or not self._writes:
            return
        self._started = True
        try:
            if self._overwrite and self.path.is_dir():
                for file in self.path.iterdir():
                    if file.is_file():
                        file.unlink()
            (self.path / DONE).unlink(missing_ok=True)
            self.write_text(".identity.json", json.dumps(self._identity, indent=1))
            self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(self._resolved)))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}. Give another results= folder.") from None

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.path / name).read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the config and the inputs: which run a file of it belongs to."""
        return hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:16]

    def write_text(self, name: str, text: str) -> None:
        """Write ``text`` into the run's file ``name``."""
        if not self._writes:
            return
        self.start()
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write(self, name: str, save: Callable[[IO[bytes]], Any]) -> None:
        """Let ``save`` write the run's file ``name`` through an open binary file."""
        if not self._writes:
            return
        self.start()
        with replacing(self.path / name) as temporary, temporary.open("wb") as file:
            save(file)

    def finish(self, device: str, exit_code: int = 0, seconds: float | None = None, earlier: float = 0.0) -> None:
        """Write ``provenance.json`` and, last, ``DONE.json``.

        Args:
            device: what it ran on, in words.
            exit_code: the answer; a run that answers "no" is finished too.
            seconds: duration over all its starts, where the command counts it; else since this start.
            earlier: seconds of its earlier starts, where they are not counted in.

        """
        duration = earlier + (time.monotonic() - self._began if seconds is None else seconds)
        told = provenance(["fa-repro", *_command_line()], device, duration, self._identity["inputs"], self._git)
        told |= {"exit_code": exit_code, "seed": self._resolved.get("seed")}
        self.write_text("provenance.json", json.dumps(told, indent=1) + "\n")
        files = sorted(
            f.name for f in self.path.iterdir() if f.is_file() and not f.name.startswith(".") and f.name != DONE
        )
        self.write_text(DONE, json.dumps({"exit_code": exit_code, "files": files}, indent=1) + "\n")

    def exit_code(self) -> int:
        """Return the finished run's answer, and say that it was there."""
        done = self._read(DONE)
        code = int(done["exit_code"]) if done else 0
        if self._writes:
            print(f"{self.path}: already finished with this config, nothing to do (overwrite=true runs it again).")
        return code


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


def digest(path: Path) -> str:
    """Return the first 16 hex digits of the file's SHA-256: which checkpoint a result was made from."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _difference(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return _difference(old, new, f"{prefix}{key}.")
        return f"config ({prefix}{key}: {old} there, {new} here)"
    return "config"


def _command_line() -> list[str]:
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
        # Results that this very run rewrites do not make the code another.
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--", ":/src", ":/configs")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
