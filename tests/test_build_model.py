"""From a config to a network: shapes, weights from a file, and what is refused."""

import io

import pytest
import torch

import tiny
from fa_repro.models import FeatureAlignCNN, build_model
from fa_repro.models.build import check_size
from networks import RESNET18, UNSHUFFLED, task, with_random_norms
from refusals import refusal
from samples import noise

RESNET = tiny.RESNET | {"widths": [16, 32, 64], "blocks": [2, 2, 2]}


@pytest.mark.parametrize("name", ["fa_cnn", "resnet_small"])
@pytest.mark.parametrize("size", [28, 32, 64, 96])
@pytest.mark.parametrize("n_classes", [2, 10, 100])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_shapes(name, size, n_classes, in_channels):
    config = {"fa_cnn": UNSHUFFLED, "resnet_small": RESNET | {"blocks": [1, 1, 1]}}[name]
    model = build_model(config, task(n_classes, in_channels, size)).eval()
    images = noise(1, in_channels, size, size)
    with torch.no_grad():
        features, logits = model.features(images), model(images)
    channels = {"fa_cnn": 12 * n_classes, "resnet_small": 64}[name]
    assert model.down_sampling == 4
    assert features.shape == (1, channels, size // 4, size // 4)
    assert logits.shape == (1, n_classes) and logits.isfinite().all()
    if name == "fa_cnn":
        assert isinstance(model, FeatureAlignCNN)
        with torch.no_grad():
            assert model.class_maps(images).shape == (1, n_classes, size // 4, size // 4)
            assert model.depth_maps(images).shape == (1, n_classes, size, size)


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (UNSHUFFLED, lambda m: m.stages[1][0]),
        (UNSHUFFLED | {"head": "linear"}, lambda m: m.stages[1][0]),
        (RESNET, lambda m: m.layers[5]),
    ],
)
def test_last_feature_layer_gives_the_last_features(config, layer):
    model = build_model(config, task(3, 3, 8)).eval()
    assert model.last_feature_layer is layer(model)
    caught = []
    model.last_feature_layer.register_forward_hook(lambda _, __, output: caught.append(output))
    images = noise(2, 3, 8, 8)
    assert torch.equal(model.features(images), caught[0])


def test_images_that_leave_places_over_are_refused():
    model = build_model(UNSHUFFLED, task(3, 3, 32))
    check_size(model, 36, "model mine", "image_size")
    said = refusal(check_size, model, 34, "model mine", "image_size")
    assert said == (
        "model mine shrinks images 4-fold, and 34 pixels are no multiple of that. Give images of another size "
        "(image_size), or a model that shrinks less."
    )
    check_size(torch.nn.Identity(), 34, "another's", "image_size")  # of which nothing is known


@pytest.mark.parametrize("config", [UNSHUFFLED, RESNET, RESNET18])
def test_a_name_of_the_users_own_begins_with_its_kind(config):
    own = build_model(config | {"name": f"{config['name']}_mine"}, task(3, 3, 8))
    assert type(own) is type(build_model(config, task(3, 3, 8)))
    assert "no such model" in refusal(lambda: build_model(config | {"name": f"{config['name']}x"}, task(3, 3, 8)))


@pytest.mark.parametrize("config", [UNSHUFFLED, UNSHUFFLED | {"head": "linear"}, RESNET, RESNET18])
def test_state_survives_a_weights_only_file(config):
    torch.manual_seed(1)
    model = with_random_norms(build_model(config, task(3, 3, 8)).eval())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(2)
    other = build_model(config, task(3, 3, 8)).eval()
    images = noise(2, 3, 8, 8)
    with torch.no_grad():
        assert not torch.equal(other(images), model(images))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(images), model(images))


# Refusals


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (UNSHUFFLED, 30),
        (UNSHUFFLED | {"unshuffle": 3}, 32),
        (RESNET, 30),
        (RESNET, 2),
        pytest.param({"name": "resnet18"}, 28, marks=pytest.mark.slow),
        pytest.param({"name": "resnet18"}, 72, marks=pytest.mark.slow),
    ],
)
def test_image_size_that_down_sampling_does_not_divide_is_refused(config, size):
    assert str(size) in refusal(build_model, config, task(image_size=size))


@pytest.mark.parametrize("blocks", [[1], [1, 1, 1]])
@pytest.mark.parametrize("head", ["gap", "linear"])
@pytest.mark.parametrize("key", ["hidden", "pool", "squeeze", "depth", "shrink"])
def test_lists_of_unequal_length_are_refused(key, blocks, head):
    fitting = {other: [1] * len(blocks) for other in ("hidden", "pool", "squeeze", "depth", "shrink")}
    config = UNSHUFFLED | fitting | {"blocks": blocks, "head": head}
    build_model(config, task())
    assert f"model.{key}" in refusal(build_model, config | {key: [1, 1]}, task())


def test_pooling_before_the_first_branch_is_refused():
    assert "model.pool" in refusal(build_model, UNSHUFFLED | {"pool": [2, 2]}, task())


def test_fewer_maps_than_pixel_planes_are_refused():
    assert build_model(UNSHUFFLED | {"maps_per_class": 6}, task(n_classes=2))
    assert "model.maps_per_class" in refusal(build_model, UNSHUFFLED | {"maps_per_class": 5}, task(n_classes=2))


def test_blocks_and_widths_of_unequal_length_are_refused():
    assert "model.widths" in refusal(build_model, RESNET | {"blocks": [1, 1]}, task())


def test_unknown_model_is_refused():
    assert "vgg" in refusal(build_model, {"name": "vgg"}, task())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (UNSHUFFLED | {"name": "resnet_small"}, "model.alpha is no key of such a model"),
        (RESNET | {"name": "fa_cnn"}, "model.alpha is not given"),
        (UNSHUFFLED | {"name": "resnet18"}, "model.alpha is no key of such a model"),
        ({"name": "resnet_whitened", "widths": [4]}, "model.depth is not given"),
    ],
)
def test_the_name_of_one_model_with_the_keys_of_another_is_refused(config, named):
    assert named in refusal(build_model, config, task())


@pytest.mark.parametrize("config", [UNSHUFFLED, RESNET])
def test_a_single_class_is_refused(config):
    assert "class" in refusal(build_model, config, task(n_classes=1))
