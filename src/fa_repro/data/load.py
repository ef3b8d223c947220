"""From a data set's config to the images."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fa_repro.data import boxes, image_folder, shapes, torchvision_sets
from fa_repro.data.cache import cache_folder, cached
from fa_repro.data.image_set import ImageSet, resize, stratified
from fa_repro.errors import InputError


def load_data(config: Mapping[str, Any], split: str, truth: bool = False) -> ImageSet:
    """Load one split, limited to ``n_train`` or ``n_test`` images.

    Args:
        config: a resolved ``configs/data/*.yaml``.
        split: ``train`` or ``test``.
        truth: whether an image folder's boxes are wanted as masks; the embedded set has its masks at any time.

    Raises:
        InputError: the data can't be read; names the file or folder and the way out.

    """
    limit = config["n_train"] if split == "train" else config["n_test"]
    name, seed = config["name"], config["seed"] or 0
    if name == "shapes":
        whole = _shapes(config, split, seed, limit)
    elif name == "image_folder":
        whole = _image_folder(config, split, truth)
    elif name in torchvision_sets.NAMES:
        if config["root"] is None:
            raise InputError(f"data={name} needs data.root=DIR, where it lies or is to be downloaded to.")
        images, labels, classes = torchvision_sets.load(name, config["root"], split, config["download"])
        if config["image_size"] is not None:
            images = resize(images, config["image_size"])
        whole = ImageSet(images, labels, torch.arange(len(labels)), classes)
    else:
        raise InputError(
            f"data.name={name}: no such data set. Choose with data=NAME (fa-repro train --help lists them)."
        )
    if limit is None or limit >= len(whole):
        return whole
    _enough(limit, split, len(whole.classes))
    return whole.select(stratified(whole.labels, limit, seed))


def _enough(limit: int, split: str, n_classes: int) -> None:
    if limit < n_classes:
        raise InputError(f"data.n_{split}={limit}: fewer images than the {n_classes} classes.")


def _shapes(config: Mapping[str, Any], split: str, seed: int, limit: int | None) -> ImageSet:
    n, size = limit or 10_000, config["image_size"] or 32
    _enough(n, split, len(shapes.CLASSES))

    def draw() -> dict[str, Any]:
        try:
            images, labels, masks = shapes.make_shapes(n, seed=seed, split=split, size=size, progress=True)
        except ValueError as error:
            raise InputError(f"data={str(error).removesuffix('.')}.") from None
        return {
            "images": torch.from_numpy(images),
            "labels": torch.from_numpy(labels),
            "masks": torch.from_numpy(masks),
        }

    made = cached(cache_folder(config["cache"]), ["shapes", shapes.VERSION, seed, split, n, size], draw)
    return ImageSet(made["images"], made["labels"], torch.arange(n), shapes.CLASSES, made["masks"])


def inputs_of(config: Mapping[str, Any], *splits: str) -> dict[str, str]:
    """Return fingerprints of the files that a data set's ``splits`` are read from, for `fa_repro.rundir.RunDir`.

    None but of an image folder, in which images come and go under the same words.

    Raises:
        InputError: the folder isn't there.

    """
    if config["name"] != "image_folder":
        return {}
    root = _root_of(config)
    return {f"{split} images": image_folder.fingerprint(image_folder.split_folder(root, split)) for split in splits}


def _root_of(config: Mapping[str, Any]) -> Path:
    if config["root"] is None:
        raise InputError("data=image_folder needs data.root=DIR, a folder with train/ and test/ or val/.")
    root = Path(config["root"])
    if not root.is_dir():
        raise InputError(f"data.root={root}: no such folder.")
    return root


def _image_folder(config: Mapping[str, Any], split: str, truth: bool) -> ImageSet:
    root = _root_of(config)
    folder = image_folder.split_folder(root, split)
    files, classes = image_folder.listing(folder)
    if split == "test" and (root / "train").is_dir():
        trained = image_folder.classes(root / "train")
        if trained != classes:
            odd = sorted(set(trained) ^ set(classes))
            raise InputError(f"{folder}: its class folders are not those of {root / 'train'} ({', '.join(odd[:3])}).")
    try:
        stats = [os.stat(path) for path, _ in files]
    except OSError as error:
        raise InputError(f"{error.filename}: can't be read ({error.strerror}). Remove or replace it.") from None
    key = [
        ["image_folder", 1, str(folder.resolve()), config["image_size"]],
        [[path, stat.st_size, stat.st_mtime_ns] for (path, _), stat in zip(files, stats, strict=True)],
    ]

    def decode() -> dict[str, Any]:
        images, labels = image_folder.load(files, config["image_size"])
        return {"images": images, "labels": labels}

    made = cached(cache_folder(config["cache"]), key, decode)
    masks, table = None, boxes.table_of(config)
    if truth and table is not None:
        size = made["images"].shape[2]
        masks = boxes.box_masks(table, folder, files, size, resized=config["image_size"] is not None)
    return ImageSet(made["images"], made["labels"], torch.arange(len(files)), classes, masks)
