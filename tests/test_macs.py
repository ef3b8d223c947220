"""What a forward pass costs, counted by hand."""

import torch
from torch import nn

from fa_repro.models import build_model
from fa_repro.training import count_macs
from networks import task
from tiny import FA_CNN, ONE_STAGE


def test_count_macs_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 8*8 positions * 4 maps * 3*3*3
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),  # 4*4 * 6 * 4*3*3
        nn.Flatten(),
        nn.Linear(96, 5),  # 96 * 5
    ).eval()
    image = torch.zeros(1, 3, 8, 8)
    assert count_macs(model, image) == 6912 + 3456 + 480
    assert count_macs(model[:3], image) == 6912
    assert count_macs(model[:1], torch.zeros(1, 3, 16, 16)) == 4 * 6912


def test_count_macs_of_the_network_by_hand():
    model = build_model(FA_CNN | ONE_STAGE, task(2, image_size=4)).eval()
    # At 4x4 places, 2x2 patches of 3 colours to 24 channels, a 3x3 convolution to 4, a 1x1 to 6 maps; stem, skip,
    # pooling and head multiply no matrix.
    per_place = 12 * 24 + 24 * 4 * 9 + 4 * 6
    assert count_macs(model, torch.zeros(1, 3, 4, 4)) == 16 * per_place
