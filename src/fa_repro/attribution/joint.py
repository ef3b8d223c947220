"""Prediction and map from one and the same forward pass: what an aligned network's explanation costs."""

from typing import NamedTuple

import torch
from torch import Tensor

from fa_repro.attribution.targets import of_class
from fa_repro.attribution.upsampling import image_size, upsample
from fa_repro.models import FeatureAlignCNN
from fa_repro.models.fa_cnn import add_terms
from fa_repro.models.gap_head import class_maps

UPSAMPLING = "bilinear"  # every command's default


class Explained(NamedTuple):
    """What one forward pass gives for N images."""

    logits: Tensor  # (N,K)
    maps: Tensor  # (N,H,W), of the predicted class


@torch.inference_mode()
def predict_with_feature_map(model: FeatureAlignCNN, images: Tensor) -> Explained:
    """Map images (N,C,H,W) in [0,1] to logits and the feature map of each image's predicted class."""
    features = model.features(images)
    logits = model.head(features)
    maps = of_class(class_maps(features, model.n_classes), logits.argmax(1))
    return Explained(logits, upsample(maps, image_size(images), UPSAMPLING))


@torch.inference_mode()
def predict_with_depth_map(model: FeatureAlignCNN, images: Tensor) -> Explained:
    """Map images (N,C,H,W) in [0,1] to logits, which the depth maps add up to (T3), and the predicted class's map."""
    terms = [term for _, term in model.depth_terms(images)]
    logits = torch.stack([term.mean((2, 3)) for term in terms]).sum(0)
    chosen = [of_class(term, logits.argmax(1))[:, None] for term in terms]  # before up-sampling: one class of all K
    return Explained(logits, add_terms(chosen, image_size(images), UPSAMPLING)[:, 0])
