"""What a network says of images, whose class is explained, and which images are shown."""

import torch
from torch import nn

from fa_repro.attribution.examples import first_of_each_class
from fa_repro.attribution.targets import choose_targets, predict, targets_of

PIXELS = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([2, 1, 0, 0, 1])


class Means(nn.Module):
    """Logit k is the mean of channel k."""

    def __init__(self):
        super().__init__()
        self.weight, self.batches = nn.Parameter(torch.ones(())), []

    def forward(self, images):
        self.batches.append(len(images))
        return self.weight * images.mean((2, 3))


def test_logits_of_all_images_come_batch_by_batch_and_without_a_graph():
    model, images = Means(), PIXELS.float() / 255
    logits = predict(model, PIXELS, 2)
    assert model.batches == [2, 2, 1]
    assert torch.allclose(logits, images.mean((2, 3))) and not logits.requires_grad
    assert torch.equal(predict(model, images, 2), logits)  # images in [0,1] are taken as they are
    assert not torch.allclose(predict(model, images / 255, 2), logits)
    assert not logits.is_inference()


def test_the_class_that_is_explained():
    model = Means()
    predicted = PIXELS.float().mean((2, 3)).argmax(1)
    assert predicted.tolist() != LABELS.tolist()
    for target, wanted in (("predicted", predicted), ("label", LABELS), (1, torch.ones(5, dtype=torch.int64))):
        model.batches.clear()
        assert torch.equal(choose_targets(model, PIXELS, LABELS, target, 2), wanted)
        assert torch.equal(targets_of(predicted, LABELS, target), wanted)
        assert bool(model.batches) == (target == "predicted")


def test_the_first_right_image_of_each_class_is_shown_and_a_class_without_one_comes_last():
    labels = torch.tensor([0, 1, 1, 0, 2, 3])
    predicted = torch.tensor([1, 0, 1, 0, 2, 0])  # the right ones: 2, 3 and 4
    assert first_of_each_class(labels, predicted, 9).tolist() == [2, 3, 4, 5]
    assert first_of_each_class(labels, predicted, 2).tolist() == [2, 3]
    assert first_of_each_class(labels, labels, 9).tolist() == [0, 1, 4, 5]
    none_right = (labels + 1) % 4
    assert first_of_each_class(labels, none_right, 9).tolist() == [0, 1, 4, 5]
