"""Where a benchmark runs from end to end in tests: untrained networks, a few images, the command with quick words."""

import pandas as pd
import torch

import tiny
from fa_repro.checkpoint import Checkpoint, load_model
from fa_repro.data import load_data
from fa_repro.models import Task, build_model
from tiny import RESNET

METHODS = ["feature_map", "depth_map", "contrast_map", "grad_cam", "permutation", "occlusion", "random", "center"]
FA_CNN = tiny.FA_CNN | {"maps_per_class": 2, "unshuffle": 2}
QUICK = ["n_images=6", "fractions=[0,0.25,0.5,0.75,1]", "bootstrap=100", "repeats=1", "device=cpu"]
TRAINER = {"augment": {"crop": 0, "flip": True, "cutout": 5, "removal": 0.5}, "locality": 0.25}
CURVES = ["method", "order", "imputation", "fraction"]
CURVES += [f"{name}{end}" for name in ("target_probability", "kept", "accuracy") for end in ("", "_low", "_high")]
CURVES = ",".join([*CURVES, "n"])
PER_IMAGE = "image,method,order,imputation,fraction,target,target_probability,target_logit,kept,correct"


class Place:
    """A folder with a checkpoint of each kind and the results of the runs on them."""

    command, quick, n_test, trainer = "benchmark-removal", QUICK, 20, TRAINER

    def __init__(self, folder, cli):
        self.folder, self.cli = folder, cli
        self.results = folder / "results"
        self.data = {"name": "shapes", "root": None, "download": False, "n_train": 40, "n_test": self.n_test}
        self.data |= {"image_size": 16, "mirror": True, "cache": str(folder / "cache"), "seed": 0}
        self.test = load_data(self.data, "test")
        for model in (FA_CNN, RESNET):
            self.save(model)

    def checkpoint(self, name="fa_cnn"):
        return self.folder / f"{name}.pt"

    def save(self, model, name=None, classes=None):
        train = load_data(self.data, "train")
        mean, std = train.statistics()
        task = Task(len(train.classes), 3, 16, mean, std)
        torch.manual_seed(3)
        network = build_model(model, task)
        for layer in network.modules():  # statistics of these very images, so that predictions differ between them
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        network.train()(train.images.float() / 255)
        classes = list(classes or train.classes)
        checkpoint = Checkpoint(model, task._asdict(), classes, network.state_dict(), self.data, self.trainer, seed=7)
        with self.checkpoint(name or model["name"]).open("wb") as file:
            checkpoint.save(file)

    def run(self, name, *words, model="fa_cnn"):
        """Return exit code, stdout, stderr and the run's directory."""
        words = [f"checkpoint={self.checkpoint(model)}", f"results={self.results}", f"name={name}", *self.quick, *words]
        return *self.cli(self.command, *words), self.results / self.command / name

    def network(self, name="fa_cnn"):
        return load_model(self.checkpoint(name))


def tables(path):
    return pd.read_csv(path / "curves.csv"), pd.read_csv(path / "per_image.csv.gz")
