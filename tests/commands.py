"""The subcommands, and a stand-in for what runs one of them."""

from typing import Any

from omegaconf import OmegaConf

from fa_repro.rundir import RunDir, default_name

SUBCOMMANDS = (
    "train",
    "verify-gradcam",
    "explain",
    "benchmark-removal",
    "benchmark-sanity",
    "benchmark-localization",
    "benchmark-speed",
    "report",
)


class Handler:
    """Stands in for ``fa_repro.commands.train``: notes the config of each job, then does what `act` says."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.act: Any = lambda cfg: 0

    def run(self, cfg: Any) -> int:
        self.jobs.append(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)))
        return self.act(cfg)


def finish(cfg: Any) -> int:
    """Act: leave a finished run directory."""
    RunDir(cfg, "train", cfg.name or default_name(cfg)).finish("cpu")
    return 0
