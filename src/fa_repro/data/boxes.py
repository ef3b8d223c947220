"""Bounding boxes beside an image folder, ``ROOT/boxes.csv``, as masks of the images as they are loaded.

Columns: ``split`` (the folder ``train``, ``test`` or ``val``), ``class`` (or ``wnid``), ``file`` (or ``stem``, the name
without its ending) and the box: ``x0,y0,x1,y1`` in pixels of the file, the last ones included, as ImageNet's are, or
``fx0,fy0,fx1,fy1`` as shares of its width and height, which win where both are there. Other columns are ignored. A file
may have several boxes: its mask is their union.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from fa_repro.errors import InputError

NAME = "boxes.csv"
_PIXELS, _SHARES = ["x0", "y0", "x1", "y1"], ["fx0", "fy0", "fx1", "fy1"]
_CHUNK = 1000  # boxes drawn at once


def table_of(config: Mapping[str, Any]) -> Path | None:
    """Return the table beside the image folder that ``config`` (a resolved ``configs/data/*.yaml``) names, or None."""
    if config["name"] != "image_folder" or config["root"] is None:
        return None
    table = Path(config["root"]) / NAME
    return table if table.is_file() else None


def box_masks(table: Path, folder: Path, files: list[tuple[str, int]], size: int, resized: bool) -> Tensor:
    """Return the boxes of every image as a mask (N,H,W) bool, H = W = ``size``; nowhere true where an image has none.

    A pixel is in a box if its centre is. Where images were brought to ``size``, boxes go the same way as
    `fa_repro.data.image_folder.load`: the largest centred square of the file, scaled.

    Args:
        table: the CSV file.
        folder: of the split.
        files: pairs of path and label, as `fa_repro.data.image_folder.listing` gives them.
        size: side of the loaded images, in pixels.
        resized: whether ``data.image_size`` was given; else the files have ``size`` x ``size`` pixels.

    Raises:
        InputError: the table can't be read; names what is wrong in it.

    """
    frame, shares = _read(table)
    frame = frame[frame.split == folder.name]
    rows = _positions(frame, folder, files)
    found = np.flatnonzero(rows >= 0)
    rows, edges = rows[found], frame[_SHARES if shares else _PIXELS].to_numpy(float)[found]
    if not shares:
        edges[:, 2:] += 1  # from the last pixel to its far edge
    sizes = _sizes([files[row][0] for row in rows]) if resized else np.full((len(rows), 2), float(size))
    if shares:
        edges = edges * np.tile(sizes, 2)
    square = sizes.min(1, keepdims=True)
    edges = (edges - np.tile((sizes - square) / 2, 2)) * size / square
    return _draw(torch.from_numpy(rows), torch.from_numpy(edges), len(files), size)


def _read(table: Path) -> tuple[pd.DataFrame, bool]:
    """Return the table with columns split, class and file or stem, and whether its boxes are shares."""
    try:
        words = dict.fromkeys(("split", "class", "wnid", "file", "stem"), str)
        frame = pd.read_csv(table, dtype=words, keep_default_na=False)  # a class may be called None or NA
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{table}: can't be read ({str(error).splitlines()[0]}).") from None
    if "class" not in frame.columns:
        frame = frame.rename(columns={"wnid": "class"})
    shares = set(_SHARES) <= set(frame.columns)
    numbers = _SHARES if shares else _PIXELS
    lacking = [name for name in ("split", "class", *numbers) if name not in frame.columns]
    if not {"file", "stem"} & set(frame.columns):
        lacking.append("file")
    if lacking:
        raise InputError(f"{table}: has no column {lacking[0]}; split,class,file,x0,y0,x1,y1 are needed.")
    values = frame[numbers].apply(pd.to_numeric, errors="coerce")
    # A file without a box is no line: whatever is no box is a mistake.
    wrong = ~np.isfinite(values).all(axis=1) | (values.iloc[:, 2] < values.iloc[:, 0])
    wrong |= values.iloc[:, 3] < values.iloc[:, 1]
    if wrong.any():
        raise InputError(f"{table}: line {int(wrong.to_numpy().argmax()) + 2} holds no box (x0 <= x1, y0 <= y1).")
    frame[numbers] = values
    return frame, shares


def _positions(frame: pd.DataFrame, folder: Path, files: list[tuple[str, int]]) -> np.ndarray:
    """Return each line's position among ``files``, -1 where its file is not there."""
    by_stem = "file" not in frame.columns
    places = {}
    for position, (path, _) in enumerate(files):
        name = Path(path).relative_to(folder)
        inside = Path(*name.parts[1:])
        places[name.parts[0], (inside.with_suffix("") if by_stem else inside).as_posix()] = position
    keys = zip(frame["class"], frame["stem" if by_stem else "file"], strict=True)
    return np.array([places.get(key, -1) for key in keys], dtype=np.int64)


def _sizes(paths: list[str]) -> np.ndarray:
    """Return width and height (B,2) of image files, from their headers."""
    known: dict[str, tuple[int, int]] = {}
    for path in dict.fromkeys(paths):
        with Image.open(path) as file:
            known[path] = file.size
    return np.array([known[path] for path in paths], dtype=float).reshape(-1, 2)


def _draw(rows: Tensor, edges: Tensor, n: int, size: int) -> Tensor:
    """Draw boxes ``edges`` (B,4), x0 y0 x1 y1 in pixels, into the masks (n,size,size) at ``rows`` (B,)."""
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    centres = torch.arange(size) + 0.5
    for row, edge in zip(rows.split(_CHUNK), edges.split(_CHUNK), strict=True):
        x0, y0, x1, y1 = edge[:, :, None].unbind(1)
        across, down = (x0 <= centres) & (centres < x1), (y0 <= centres) & (centres < y1)
        masks.index_add_(0, row, down[:, :, None] & across[:, None, :])  # of booleans, a sum is a union
    return masks
