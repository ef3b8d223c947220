"""Any images on disk: ROOT/train/CLASS/* and ROOT/test/CLASS/* (or ROOT/val/)."""

import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from fa_repro.errors import InputError
from fa_repro.torchvision_library import torchvision_part


def split_folder(root: Path, split: str) -> Path:
    """Return the folder of a split.

    Raises:
        InputError: there is none.

    """
    names = ("train",) if split == "train" else ("test", "val")
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise InputError(
        f"data.root={root}: has no folder {' or '.join(f'{n}/' for n in names)} with one folder for each class."
    )


def classes(folder: Path) -> tuple[str, ...]:
    """Return the names of a split's class folders, in the order of their labels.

    Raises:
        InputError: the folder can't be read.

    """
    return tuple(sorted(entry.name for entry in _entries(folder) if entry.is_dir()))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: can't be read ({error.strerror}).") from None


def listing(folder: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """Return every image file of a split with its label, in a fixed order, and the class names.

    Files with other endings are passed over, and said to be.

    Raises:
        InputError: a class folder is missing, empty or can't be read.

    """
    folders = torchvision_part("datasets.folder")
    endings = folders.IMG_EXTENSIONS
    try:
        classes, index = folders.find_classes(str(folder))
        files = folders.make_dataset(str(folder), index, endings)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: {str(error).splitlines()[0].rstrip('.')}.") from None
    except OSError as error:
        raise InputError(f"{error.filename}: can't be read ({error.strerror}).") from None
    inside = (Path(name, file) for kind in classes for name, _, names in os.walk(folder / kind) for file in names)
    others = sorted(file for file in inside if file.suffix.lower() not in endings and file.name[0] != ".")
    if others:
        words = f"{len(others)} files are no {', '.join(endings)} and not read, such as {others[0].name}"
        print(f"{folder}: {words}", file=sys.stderr)
    return files, tuple(classes)


def fingerprint(folder: Path) -> str:
    """Return 16 hex digits that stand for which files lie in a split's folder, by their names and sizes in bytes.

    Times are left out, so that the same files unpacked again are the same.

    Raises:
        InputError: a file can't be looked at, such as a link to nowhere.

    """
    inside = (Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)
    try:
        lines = sorted(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in inside)
    except OSError as error:
        raise InputError(f"{error.filename}: can't be read ({error.strerror}). Remove or replace it.") from None
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]


def image_files(paths: Sequence[str]) -> list[Path]:
    """Return the image files that ``paths`` name: a file itself, of a folder the images in it, by name.

    Raises:
        InputError: a path is not there, a folder holds no image or can't be read, or a name is no UTF-8.

    """
    endings = torchvision_part("datasets.folder").IMG_EXTENSIONS
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in _entries(path) if file.suffix.lower() in endings and file.is_file())
            if not inside:
                raise InputError(f"images={path}: no image in this folder ({', '.join(endings)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"images={path}: no such file or folder.")
    for path in found:
        try:
            str(path).encode()  # for the table
        except UnicodeEncodeError:
            raise InputError(f"images={str(path)!a}: the name is no text in UTF-8. Rename it.") from None
    return list(dict.fromkeys(found))


def load(files: list[tuple[str, int]], image_size: int | None, upright: bool = False) -> tuple[Tensor, Tensor]:
    """Decode images.

    Args:
        files: pairs of path and label.
        image_size: side in pixels; the shorter side is resized to it and the centre kept. None: as they are.
        upright: whether a photo is turned as its EXIF says; a data set's images are taken as they lie in their files.

    Returns:
        images (N,C,H,W) uint8, C = 1 if all are grey and else 3, labels (N,) int64.

    Raises:
        InputError: a file is no image, or sizes differ and ``image_size`` is None.

    """

    def decode(path: str) -> np.ndarray:
        try:
            with Image.open(path) as file:
                if file.mode.startswith(("I", "F")):
                    raise InputError(
                        f"{path}: has more than 8 bits a channel (mode {file.mode}). Convert it to 8 bits."
                    )
                turned = ImageOps.exif_transpose(file) if upright else file
                image: Image.Image = turned if turned.mode in ("L", "RGB") else turned.convert("RGB")
                if image_size is not None and image.size != (image_size, image_size):
                    image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
                return np.asarray(image)
        except (
            UnidentifiedImageError,
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: is no readable image ({reason}). Remove or replace it.") from None

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # PIL decodes without the interpreter's lock
        decoded = pool.map(decode, (path for path, _ in files))
        images = list(tqdm(decoded, "decoding images", len(files), unit="img", delay=2, disable=None))
    grey = all(image.ndim == 2 for image in images)
    first = images[0].shape[:2]
    for image, (path, _) in zip(images, files, strict=True):
        if image.shape[:2] != first:
            raise InputError(
                f"{path} has {image.shape[1]}x{image.shape[0]} pixels, {files[0][0]} {first[1]}x{first[0]}: "
                f"give data.image_size=N to bring all to one size."
            )
    if image_size is None and first[0] != first[1]:
        raise InputError(
            f"{files[0][0]} has {first[1]}x{first[0]} pixels: give data.image_size=N to make images square."
        )
    stacked = np.empty((len(images), 1 if grey else 3, *first), np.uint8)
    for row, image in zip(stacked, images, strict=True):
        row[...] = image if image.ndim == 2 else image.transpose(2, 0, 1)  # grey spreads over three channels
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    return torch.from_numpy(stacked), labels
