"""Maps against those of others: Grad-CAM up to their scaling, occlusion and permutation patch by patch."""

import numpy as np
import pytest
import torch

from fa_repro.attribution import Context
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.patches import patch_numbers
from fa_repro.attribution.permutation import derangement, permutation
from fa_repro.speed.explanation import explanation_contenders
from networks import RESNET
from peers import CLOSE, FA, SIDE, N, network, package, pixels

# Grad-CAM


def _scaled(values):
    """From 0 to 1 in each image; pytorch-grad-cam and torch-cam keep nothing else of a map's values."""
    values = values - values.min(axis=(1, 2), keepdims=True)
    return values / (1e-7 + values.max(axis=(1, 2), keepdims=True))


def _enlarged(values):
    """Linear along rows, then columns, between the pixels' centres."""
    small = values.shape[1]
    places, centres = (np.arange(SIDE) + 0.5) / SIDE, (np.arange(small) + 0.5) / small
    for axis in (1, 2):
        values = np.apply_along_axis(lambda line: np.interp(places, centres, line), axis, values)
    return values


def _grad_cam_definition(model, images, targets):
    caught = []
    hook = model.last_feature_layer.register_forward_hook(lambda _, __, out: caught.append(out.requires_grad_()))
    logits = model(images)
    hook.remove()
    (gradients,) = torch.autograd.grad(logits[torch.arange(len(images)), targets].sum(), caught[0])
    weights = gradients.double().numpy().mean((2, 3))
    maps = np.maximum(np.einsum("nc,nchw->nhw", weights, caught[0].detach().double().numpy()), 0)
    return _scaled(_enlarged(_scaled(maps)))


def _pytorch_grad_cam_package(model, images, targets):
    library, chosen = package("pytorch_grad_cam"), package("pytorch_grad_cam.utils.model_targets")
    with library.GradCAM(model=model, target_layers=[model.last_feature_layer]) as cam:
        return cam(
            input_tensor=images.clone().requires_grad_(),
            targets=[chosen.ClassifierOutputTarget(int(t)) for t in targets],
        )


def _torch_cam_extractor(model, images, targets):
    with package("torchcam.methods").GradCAM(model, model.last_feature_layer) as cam:
        maps = cam(targets.tolist(), model(images.clone().requires_grad_()))[0]
    return _scaled(_enlarged(maps.double().numpy()))


@pytest.mark.parametrize("config", [FA, RESNET], ids=["fa_cnn", "resnet"])
@pytest.mark.parametrize("source", ["definition", "pytorch-grad-cam", "torch-cam"])
def test_grad_cam_is_that_of_others_up_to_their_scaling(source, config):
    theirs = {
        "definition": _grad_cam_definition,
        "pytorch-grad-cam": _pytorch_grad_cam_package,
        "torch-cam": _torch_cam_extractor,
    }[source]
    model, images, targets = network(config), pixels() / 255, torch.tensor([2, 0, 1, 2])
    maps = grad_cam(model, images, targets).double().numpy()
    assert maps.max() > 0
    expected = theirs(model, images, targets)
    assert np.abs(_scaled(maps) - expected).max() < CLOSE
    assert np.abs(_scaled(grad_cam(model, images, targets.roll(1)).double().numpy()) - expected).max() > 1e-2


def test_timing_pytorch_grad_cam_leaves_the_other_contenders_no_hooks():
    library = package("pytorch_grad_cam")
    model, images = network(), pixels() / 255
    layer = model.last_feature_layer
    contenders, notes = explanation_contenders(model, images, Context())
    assert any("pytorch-grad-cam" in contender.name for contender in contenders), notes
    for contender in contenders:
        contender.run()
        assert not layer._forward_hooks
    kept = library.GradCAM(model=model, target_layers=[layer])  # one that is not closed leaves them
    assert layer._forward_hooks and kept


# captum, patch by patch


def test_occlusion_is_captums():
    captum = pytest.importorskip("captum.attr")
    model, images, targets = network(), pixels() / 255, torch.tensor([2, 0, 1, 2])
    colour = torch.tensor([0.2, 0.5, 0.9])
    window = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 4, 4)}
    baselines = colour.view(1, 3, 1, 1).expand_as(images)
    expected = captum.Occlusion(model).attribute(images, target=targets, baselines=baselines, **window)[:, 0]
    maps = occlusion(model, images, targets, Context(colour=colour, upsampling="nearest", patch=4))
    assert maps.shape == expected.shape and (maps - expected).abs().max() < CLOSE * expected.abs().max()
    black = occlusion(model, images, targets, Context(upsampling="nearest", patch=4))
    assert (black - expected).abs().max() > 1e-2 * expected.abs().max()


def test_permutation_is_captums_with_the_same_donors():
    captum = pytest.importorskip("captum.attr")
    model, pool, targets = network(), pixels(), torch.tensor([2, 0, 1, 2])
    donors = derangement(N, torch.Generator().manual_seed(9))
    library = captum.FeaturePermutation(model, perm_func=lambda x, mask: torch.where(mask, x[donors], x))
    patches = patch_numbers((SIDE, SIDE), 4, pool.device)[None, None]
    expected = library.attribute(pool / 255, target=targets, feature_mask=patches)[:, 0]
    context = Context(pool=pool, upsampling="nearest", patch=4, repeats=1, seed=9)
    maps = permutation(model, pool / 255, targets, context)
    assert maps.shape == expected.shape and (maps - expected).abs().max() < CLOSE * expected.abs().max()
    others = captum.FeaturePermutation(model, perm_func=lambda x, mask: torch.where(mask, x.flip(0), x))
    expected = others.attribute(pool / 255, target=targets, feature_mask=patches)[:, 0]
    assert (maps - expected).abs().max() > 1e-2 * expected.abs().max()
