"""The run directory ``RESULTS/SUBCOMMAND/NAME/``: what was asked, what it ran on, what came out.

A finished run with the same config is skipped; with another config it is an error; what an unfinished one has kept is
there for its command to go on from. Every file is whole or not there.
"""

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from fa_repro.errors import InputError
from fa_repro.files import replacing
from fa_repro.provenance import command_line, git_state, provenance

IDENTITY, PROVENANCE, DONE = ".identity.json", "provenance.json", "DONE.json"  # the last two of a finished run
# Of a config, what does not change a run's result.
_NOT_IDENTITY = ("results", "name", "overwrite", "device")
# Nor the images of a forward pass, so that who has run out of memory can go on with fewer; where speed is the result
# they do.
_NO_RESULT_BUT_SPEED = ("batch_size",)
# Nor of a data set's; torchvision's sets are the same wherever they lie, too, while an image folder is its root.
_NO_PIXELS = ("cache", "download")


def not_identity(command: str) -> tuple[str, ...]:
    """Return the keys of a config in which two runs of ``command`` may differ and still be the same run."""
    return _NOT_IDENTITY if command == "benchmark-speed" else (*_NOT_IDENTITY, *_NO_RESULT_BUT_SPEED)


def data_label(data: Mapping[str, Any] | DictConfig) -> str:
    """Return what to call a data set: its name; an image folder's own, as two folders are two data sets."""
    if data["name"] == "image_folder" and data["root"]:
        return Path(data["root"]).resolve().name
    return str(data["name"])


def default_name(cfg: DictConfig) -> str:
    """Return DATA-MODEL-seedN for a composed config."""
    parts = [data_label(cfg.data), *([cfg.model.name] if "model" in cfg else []), f"seed{cfg.seed}"]
    return "-".join(parts)


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
        self._apart = not_identity(command)
        identity = {str(k): v for k, v in resolved.items() if k not in self._apart} | {"inputs": inputs or {}}
        if isinstance(data := identity.get("data"), dict):
            apart = (*_NO_PIXELS, *(["root"] if data["name"] != "image_folder" else []))
            identity["data"] = {key: value for key, value in data.items() if key not in apart}
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
        before = self._identity_there()
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
            if self._identity_there() != self._identity:
                # An earlier run's, as in a fresh clone: its figures must not pass for those of the config below.
                (self.path / PROVENANCE).unlink(missing_ok=True)
            self.write_text(IDENTITY, json.dumps(self._identity, indent=1))
            self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(self._resolved)))
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}. Give another results= folder.") from None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one line that the directory can't be written any more, as on a full disk."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.path}: {reason}. Make room or give another results= folder.") from None

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.path / name).read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def _identity_there(self) -> dict[str, Any] | None:
        """Return the identity of the run that lies here; None if there is none."""
        before = self._read(IDENTITY)
        # Earlier versions wrote the batch size down, too.
        return None if before is None else {key: value for key, value in before.items() if key not in self._apart}

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the config and the inputs: which run a file of it belongs to."""
        return hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:16]

    def write_text(self, name: str, text: str) -> None:
        """Write ``text`` into the run's file ``name``."""
        if not self._writes:
            return
        self.start()
        with self._told(), replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write(self, name: str, save: Callable[[IO[bytes]], Any]) -> None:
        """Let ``save`` write the run's file ``name`` through an open binary file."""
        if not self._writes:
            return
        self.start()
        with self._told(), replacing(self.path / name) as temporary, temporary.open("wb") as file:
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
        told = provenance(["fa-repro", *command_line()], device, duration, self._identity["inputs"], self._git)
        told |= {"exit_code": exit_code, "seed": self._resolved.get("seed")}
        self.write_text(PROVENANCE, json.dumps(told, indent=1) + "\n")
        files = sorted(
            f.name for f in self.path.iterdir() if f.is_file() and not f.name.startswith(".") and f.name != DONE
        )
        self.write_text(DONE, json.dumps({"exit_code": exit_code, "files": files}, indent=1) + "\n")

    def report_finished(self) -> int:
        """Say that the run was there, finished, and return its answer."""
        done = self._read(DONE)
        code = int(done["exit_code"]) if done else 0
        if self._writes:
            print(f"{self.path}: already finished with this config, nothing to do (overwrite=true runs it again).")
        return code


def _difference(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return _difference(old, new, f"{prefix}{key}.")
        return f"config ({prefix}{key}: {old} there, {new} here)"
    return "config"
