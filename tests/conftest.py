"""What several test files share: the command line, in this process or as a program; runs, trained or made; images."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from omegaconf import DictConfig, OmegaConf

from commands import Handler
from tiny import FA_CNN, ONE_STAGE

if TYPE_CHECKING:
    from places import Place

# The same examples in every run: a test then fails because of a change, not of a draw.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")

# A training of about a second: `shapes`, 30 feature maps, two epochs of three batches.
TINY = (
    "data.n_train=200",
    "data.n_test=60",
    "model.maps_per_class=3",
    "model.blocks=[1,1]",
    "model.hidden=[4,4]",
    "model.pool=[1,2]",
    "model.squeeze=[4,4]",
    "model.shrink=[1,1]",
    "model.depth=[1,1]",
    "trainer.epochs=2",
    "trainer.batch_size=50",
    "device=cpu",
)


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def call(*words: str) -> Answer:
    from fa_repro.cli import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    argv, environ = sys.argv, dict(os.environ)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests in the background
    out, err = io.StringIO(), io.StringIO()
    GlobalHydra.instance().clear()
    sys.argv = ["fa-repro", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
    finally:
        GlobalHydra.instance().clear()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environ)
    code = left.value.code
    return Answer(0 if code is None else int(code), out.getvalue(), err.getvalue())


def run_program(*words: str, python: tuple[str, ...] = ("-m", "fa_repro"), cwd: Path | None = None) -> Answer:
    done = subprocess.run([sys.executable, *python, *words], cwd=cwd, capture_output=True, text=True, timeout=600)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def cli() -> Callable[..., Answer]:
    return call


@pytest.fixture(scope="session")
def program() -> Callable[..., Answer]:
    return run_program


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Handler:
    stand_in = Handler()
    module = types.ModuleType("fa_repro.commands.train")
    module.run = stand_in.run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return stand_in


@pytest.fixture
def nets(workplace: Path) -> Iterator[str]:
    """Write a module of the user's into the working directory, and two that import it or are imported; its name."""
    own = Path(__file__).with_name("own_nets.py")
    (workplace / "my_package").mkdir()
    (workplace / "my_package/__init__.py").write_text("from my_package.inner import build")
    for name in ("my_nets", "my_other_nets", "my_package/inner"):
        shutil.copyfile(own, workplace / f"{name}.py")

    def forget() -> None:
        for name in ("my_nets", "my_other_nets", "my_package", "my_package.inner"):
            sys.modules.pop(name, None)

    forget()
    yield "my_nets"
    forget()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DictConfig]:
    """Make the config of a training; a change of ``trainer.lr`` is written ``trainer__lr=0.2``."""

    def make(**changes: object) -> DictConfig:
        cfg = OmegaConf.create(
            {
                "seed": 4,
                "device": "cpu",
                "results": str(tmp_path / "results"),
                "name": None,
                "overwrite": False,
                "data": {"name": "shapes", "n_train": 10},
                "model": {"name": "fa_cnn"},
                "trainer": {"lr": 0.1, "blocks": [1, 2]},
            }
        )
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
        return cfg

    return make


@pytest.fixture
def data_config(tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Make a data config with every key, its cache in a folder of the test's own."""

    def make(name: str = "image_folder", root: object = None, **keys: object) -> dict[str, object]:
        base = {"name": name, "root": None if root is None else str(root), "download": False, "mirror": True}
        base |= {"n_train": None, "n_test": None, "image_size": None, "cache": str(tmp_path / "cache"), "seed": 0}
        return base | keys

    return make


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Callable[..., Path], Path]:
    """Return a writer of images below a root folder, and that root."""
    import numpy as np
    from PIL import Image

    root = tmp_path / "images"

    def write(place: str, pixels: object, **save: object) -> Path:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **save)
        return path

    return write, root


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Return a results folder whose group ``shapes`` bears out every claim."""
    from made_runs import support_claims

    support_claims(tmp_path / "shapes")
    return tmp_path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"data.cache={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="session")
def tiny(cache: str) -> tuple[str, ...]:
    return (*TINY, cache)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    results = tmp_path_factory.mktemp("trained")
    answer = call("train", *tiny, f"results={results}", "name=tiny")
    assert answer.code == 0, answer.err
    return results / "train" / "tiny"


@pytest.fixture
def undrawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    # Most of a tiny run's time goes into its figure.
    monkeypatch.setattr("fa_repro.commands.train.curves_figure", lambda *_: None)
    monkeypatch.setattr("fa_repro.commands.train.png", lambda _: lambda file: file.write(b"a picture"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's ResNet-18 with ten classes and random weights, as a training script saves it; not to be changed."""
    import torch

    from fa_repro.models.external import build_external
    from networks import TORCHVISION_RESNET

    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    state = build_external(TORCHVISION_RESNET, 10, 5).net.state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Callable[..., Answer]) -> "Place":
    """Return a folder with untrained checkpoints, and the runs of ``fa-repro benchmark-removal`` on them."""
    from places import Place

    return Place(tmp_path_factory.mktemp("benchmark"), cli)


@pytest.fixture
def one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every run read its network in one memory format, of which a stopwatch chooses: they round differently."""
    import torch

    from fa_repro.reader import Reader

    monkeypatch.setattr(Reader, "_faster_format", lambda *_: torch.channels_last)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the checkpoint of a tiny FA-CNN with weights of the ``seed``; its 20 test images are 16 pixels a side."""
    import torch

    from fa_repro.checkpoint import Checkpoint
    from fa_repro.data import load_data
    from fa_repro.models import Task, build_model

    folder = tmp_path_factory.mktemp("untrained")
    data = {"name": "shapes", "root": None, "download": False, "n_train": 20, "n_test": 20, "image_size": 16}
    data |= {"mirror": True, "cache": str(folder / "cache"), "seed": 0}
    model = FA_CNN | ONE_STAGE | {"maps_per_class": 2, "unshuffle": 2}
    trainer = {"epochs": 1, "augment": {"crop": 0, "flip": True, "cutout": 0, "removal": 0.5}}

    def write(name: str, seed: int, **changes: object) -> Path:
        train = load_data(data, "train")
        config = {"model": model, "data": data, "trainer": trainer, "classes": list(train.classes)} | changes
        task = Task(len(train.classes), 3, 16, *train.statistics())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_model(config["model"], task)
        network.train()(train.images.float() / 255)  # statistics of images, so that predictions differ between them
        path = folder / f"{name}.pt"
        with path.open("wb") as file:
            Checkpoint(task=task._asdict(), state=network.state_dict(), seed=seed, **config).save(file)
        return path

    return write
