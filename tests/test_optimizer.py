"""The optimiser: which one, what it learns and what decays."""

import torch
from torch import nn

import tiny
from fa_repro.training.trainer import build_optimizer
from networks import fa_cnn

RECIPE = tiny.RECIPE | {"weight_decay": 0.05}


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.fixed = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def test_weights_decay_and_norms_biases_and_scalars_do_not():
    model = Mixed()
    optimizer = build_optimizer(model, RECIPE)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups}
    assert groups == {
        0.05: {"conv.weight", "linear.weight"},
        0.0: {"conv.bias", "norm.weight", "norm.bias", "linear.bias", "scale"},
    }


def test_a_step_without_gradient_shrinks_the_weights_alone():
    model = Mixed()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, {**RECIPE, "lr": 0.5, "weight_decay": 0.1})
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 0.95 if name in ("conv.weight", "linear.weight") else 1.0
        assert torch.allclose(p, factor * before[name], rtol=1e-6, atol=0), name


def test_the_optimizer_is_the_one_asked_for():
    adamw = build_optimizer(Mixed(), RECIPE)
    assert type(adamw) is torch.optim.AdamW and adamw.defaults["lr"] == 0.01
    sgd = build_optimizer(Mixed(), {**RECIPE, "optimizer": "sgd", "momentum": 0.8})
    assert type(sgd) is torch.optim.SGD
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.01, 0.8, True)
    plain = build_optimizer(Mixed(), {**RECIPE, "optimizer": "sgd", "momentum": 0.0})
    assert plain.defaults["nesterov"] is False


def test_a_scale_that_is_not_learned_is_not_optimised():
    for learned in (True, False):
        model = fa_cnn(learn_scale=learned)
        optimised = {id(p) for group in build_optimizer(model, RECIPE).param_groups for p in group["params"]}
        assert (id(model.head.log_scale) in optimised) == learned
