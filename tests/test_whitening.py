"""The whitening of patches: before it is fitted, after it, and the same for the same images."""

import torch
from torch import nn

from fa_repro.models import whitening
from fa_repro.models.whitening import Whitening, fit_whitening
from networks import RESNET, equal, fa_cnn, network
from samples import noise, pixels


def test_whitening_gives_patches_as_they_are_until_it_is_fitted():
    image = noise(1, 2, 3, 4)
    out = Whitening(2)(image)
    assert out.shape == (1, 16, 3, 4) and torch.equal(out[:, 8:], -out[:, :8])
    edged = torch.cat([image, image[:, :, -2:-1]], 2)
    edged = torch.cat([edged, edged[..., -2:-1]], 3)
    for colour in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                assert torch.equal(out[:, 4 * colour + 2 * dy + dx], edged[:, colour, dy : dy + 3, dx : dx + 4])


def test_fitted_patches_have_covariance_one_where_the_images_vary_and_zero_at_the_mean_colour():
    data = pixels(400)
    data[:, 1] = data[:, 0] // 2  # colours that go together
    whitening = Whitening(3)
    assert not whitening.state_dict().keys() - {"directions", "offset"} and not list(whitening.parameters())
    whitening.fit(data)
    images = data.float() / 255
    out = whitening(images)[:, :, :-1, :-1].transpose(0, 1).flatten(1)  # without the patches that reach over the edge
    variances = torch.linalg.eigvalsh(torch.cov(nn.functional.unfold(images.double(), 2).transpose(0, 1).flatten(1)))
    expected = variances / (variances + 5e-4)
    covariance = torch.cov(out.double())
    assert torch.allclose(covariance[:12, :12], torch.diag(expected), atol=1e-4)
    assert torch.allclose(covariance[:12, 12:], -torch.diag(expected), atol=1e-4)
    assert expected.max() > 0.99 and expected.min() < 0.1
    colour = images.mean((0, 2, 3)).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert whitening(colour).abs().max() < 1e-4 < whitening(colour + 0.1).abs().max()


def test_fitting_is_the_same_for_the_same_images_and_leaves_other_models_alone():
    data = pixels(50)
    models = [fa_cnn(), fa_cnn(), network(RESNET)]
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    for model in models:
        fit_whitening(model, data)
    one, other, resnet = (model.state_dict() for model in models)
    assert all(torch.equal(one[key], other[key]) for key in one)
    changed = {key for key in one if not torch.equal(one[key], before[0][key])}
    assert {key.rsplit(".", 1)[1] for key in changed} == {"directions", "offset"}
    assert all(torch.equal(resnet[key], before[2][key]) for key in resnet)


def test_a_fit_takes_its_few_images_from_the_whole_set(monkeypatch):
    monkeypatch.setattr(whitening, "FITTED", 20)
    data = pixels(65)
    data[:30] = 0
    some, those = Whitening(3), Whitening(3)
    some.fit(data)
    those.fit(data[:60:3])
    assert equal(some.state_dict(), those.state_dict())


def test_a_whitening_drawn_anew_has_nothing_of_the_images():
    fitted, identity = Whitening(3), Whitening(3)
    fitted.fit(pixels(50))
    drawn = []
    for module in (fitted, identity):
        torch.manual_seed(1)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        module.reset_parameters()
        assert not any(torch.equal(value, before[key]) for key, value in module.state_dict().items())
        drawn.append(module.state_dict())
    assert equal(*drawn)
    torch.manual_seed(1)
    convolution = nn.Conv2d(3, 12, 2)
    image = noise(1, 3, 5, 5)
    out = fitted(image)
    edged = nn.functional.pad(image, (0, 1, 0, 1), mode="reflect")
    assert torch.allclose(out[:, :12], convolution(edged), atol=1e-6) and torch.equal(out[:, 12:], -out[:, :12])
