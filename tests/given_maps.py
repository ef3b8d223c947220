"""Our measurement of maps that are given, in place of those of a method."""

import pytest
import torch

from fa_repro.attribution import METHODS, Context
from fa_repro.removal import measure


def moments(images):
    values = images.float() / 255
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def measure_maps(model, images, maps, counts, imputation="zero"):
    """Measure both orders, with so many pixels gone, through the benchmark as a whole."""
    mean, std = moments(images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "random", lambda model, batch, targets, context: maps[context.rows])
        (measured,) = measure(
            model,
            images,
            torch.zeros(len(images), dtype=torch.int64),
            methods=["random"],
            orders=("morf", "lerf"),
            fractions=[count / maps[0].numel() for count in counts],
            imputations=[imputation],
            target="predicted",
            mean=mean,
            std=std,
            context=Context(batch_size=3),
        )
    assert measured.fractions.tolist() == [count / maps[0].numel() for count in counts]
    return measured
