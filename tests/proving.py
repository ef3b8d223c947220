"""What the tests of the proofs share: networks in either precision, pictures for them, and a relative error."""

import torch

import networks
import samples
from fa_repro.models import build_model

FA = networks.FA | {"blocks": [2, 2], "shrink": [1, 2]}
CLASSES, SIDE = 3, 16
DTYPES = [torch.float64, torch.float32]


def network(config=FA, seed=0, dtype=torch.float64, **changed):
    return networks.network(config, image_size=SIDE, seed=seed, **changed).requires_grad_(False).to(dtype)


def pictures(n=4, seed=0, dtype=torch.float64):
    return samples.noise(n, 3, SIDE, SIDE, seed=seed, dtype=torch.float64).to(dtype)


def one_black():
    """Return a fresh network, whose norms leave zeros zero, and pictures of which the first is black."""
    torch.manual_seed(0)
    model = build_model(FA, networks.task(CLASSES, image_size=SIDE)).eval().requires_grad_(False).double()
    images = pictures()
    images[0] = 0
    assert not model.features(images)[0].any()
    return model, images


def relative(found, reference):
    return ((found - reference).abs().max() / reference.abs().max()).item()
