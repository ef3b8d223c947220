"""What lies on the device while pixels are removed: bounded by the batch, whatever there is to be measured."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fa_repro import noise
from fa_repro.attribution import METHODS, Context, controls
from fa_repro.reader import Reader
from fa_repro.removal import measure
from fa_repro.removal.ranking import rank_patches

SIDE, BATCH = 32, 4
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.1, 0.3])


class Peak(TorchDispatchMode):
    """Follows all tensors that operations return: the most bytes that lived at once, and the largest of them.

    Views of ``resident``, which lies there anyway, don't count.
    """

    def __init__(self, resident):
        super().__init__()
        self.live, self.most, self.largest, self.seen = 0, 0, 0, {}
        self.resident = resident.untyped_storage().data_ptr()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor)
        return result

    def _follow(self, tensor):
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place == self.resident:
            return
        if place not in self.seen:
            self.live += size
            self.most, self.largest = max(self.most, self.live), max(self.largest, size)
        self.seen[place] = self.seen.get(place, 0) + 1
        weakref.finalize(tensor, self._forget, place, size)

    def _forget(self, place, size):
        self.seen[place] -= 1
        if self.seen[place] == 0:
            del self.seen[place]
            self.live -= size


class Pooled(nn.Module):
    """Cheap, and no forward pass that torch.fx can follow: batches are seen as they come."""

    batches: list = []  # noqa: RUF012  of the class, as the reader works on a copy

    def __init__(self):
        super().__init__()
        self.last_feature_layer = nn.Identity()

    def forward(self, images):
        if len(images) > 0:
            self.batches.append(len(images))
        return self.last_feature_layer(images).mean((2, 3))


def follow(n, methods, fractions, imputations, monkeypatch):
    # A stopwatch chooses between the two; channels_last makes a copy of every batch.
    monkeypatch.setattr(Reader, "_faster_format", lambda *_: torch.channels_last)
    for i in range(methods):
        monkeypatch.setitem(METHODS, f"random{i}", controls.random)
    model = Pooled().eval()
    model.batches.clear()
    images = torch.randint(0, 256, (n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    settings = {"methods": [f"random{i}" for i in range(methods)], "orders": ["morf", "lerf"]}
    settings |= {"fractions": [i / fractions for i in range(fractions + 1)], "imputations": imputations}
    with Peak(images) as peak:
        measured = measure(
            model,
            images,
            torch.arange(n) % 3,
            **settings,
            target="predicted",
            mean=MEAN,
            std=STD,
            context=Context(batch_size=BATCH),
        )
    assert len(measured) == len(imputations) and measured[0].probability.shape[-1] == n
    assert max(model.batches) == BATCH
    return peak


BYTES = BATCH * SIDE * SIDE * 8  # of one batch's ranks


def results(n, methods, fractions):
    """Return the bytes of all readings in both orders, end points included: two float32 and an int64 each."""
    return n * methods * 2 * (fractions + 1) * 16


@pytest.mark.parametrize("imputation", ["mean", "noise"])
def test_memory_does_not_grow_with_images_methods_and_fractions(imputation, monkeypatch):
    n = 2 * noise.CHUNK  # the least with a chunk drawn while another lies there
    few = follow(n, 2, 3, [imputation], monkeypatch)
    assert few.most > 2 * BYTES  # the ranks of both orders, at least
    for images, methods, fractions in ((3 * n, 2, 3), (n, 10, 3), (n, 2, 12)):
        many = follow(images, methods, fractions, [imputation], monkeypatch)
        assert many.largest == few.largest
        more = results(images, methods, fractions) - results(n, 2, 3)
        assert many.most < few.most + more + BYTES / 2, (images, methods, fractions)


def test_nor_does_that_of_solving_for_the_removed_pixels(monkeypatch):
    """With half of them gone, at which all batches are solved for in one way: another one takes other memory."""
    n = 2 * noise.CHUNK
    few = follow(n, 1, 2, ["noisy_linear"], monkeypatch)
    assert few.most > follow(n, 1, 2, ["noise"], monkeypatch).most + BYTES  # what it solves in is seen
    for images, methods in ((2 * n, 1), (n, 2)):
        many = follow(images, methods, 2, ["noisy_linear"], monkeypatch)
        assert many.largest == few.largest
        more = results(images, methods, 2) - results(n, 1, 2)
        assert many.most < few.most + more + BYTES / 2, (images, methods)


def test_whoever_keeps_maps_or_images_is_seen():
    maps = torch.rand(BATCH, SIDE, SIDE)
    ties = torch.arange(SIDE * SIDE)

    def keep(methods):
        with Peak(maps) as peak:
            kept = [rank_patches(maps + m, "morf", ties, 1) for m in range(methods)]
        assert len(kept) == methods
        return peak

    assert keep(10).most > keep(2).most + 7 * BYTES
    images = torch.zeros(48, 3, SIDE, SIDE, dtype=torch.uint8)
    with Peak(images) as peak:
        images[3:].float()
    assert peak.largest == 4 * 45 * 3 * SIDE * SIDE


def test_noise_is_drawn_a_few_images_at_a_time_and_is_the_same(monkeypatch):
    drawn = []

    def draw(n, *shape, generator):
        drawn.append(n)
        return torch.randn(n, *shape, generator=generator)

    n = 100
    whole = torch.randn(n, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    rows = torch.tensor([99, 0, 17, 40])
    assert torch.equal(noise.noise_of(draw, (3, 5, 7), rows, n, 3), whole[rows])
    assert max(drawn) == noise.CHUNK and sum(drawn) == n
    uniform = torch.rand(n, 9, generator=torch.Generator().manual_seed(3))
    assert torch.equal(noise.noise_of(torch.rand, (9,), rows, n, 3), uniform[rows])

    monkeypatch.setattr(noise, "BLOCK", 32)
    blocks = noise.noise_of(draw, (3, 5, 7), torch.arange(n), n, 3)
    assert torch.equal(blocks[:32], whole[:32]) and not torch.equal(blocks[32:64], whole[32:64])
    assert not torch.equal(blocks[32:64], blocks[:32]) and not torch.equal(blocks[64:96], blocks[32:64])
    assert torch.equal(noise.noise_of(draw, (3, 5, 7), rows, n, 3), blocks[rows])
    drawn.clear()
    noise.noise_of(draw, (3, 5, 7), torch.tensor([96, 98]), n, 3)
    assert sum(drawn) == 4  # of the last block alone
