"""Compiled steps: chosen as asked, the same as the others up to rounding, and gone on with bit for bit."""

import pytest
import torch

import tiny
from fa_repro.errors import InputError
from fa_repro.models import build_model
from fa_repro.training import Trainer, World, compiled
from fa_repro.training.compiled import choose_compile, compiler_errors, obstacle
from networks import equal, task
from samples import image_set
from tiny import FA_CNN, ONE_STAGE

CPU, ALONE, SHAPE = torch.device("cpu"), World(), torch.Size([10, 3, 4, 4])
RECIPE = tiny.RECIPE | {"epochs": 2, "batch_size": 4, "lr": 0.002, "augment": tiny.RECIPE["augment"] | {"removal": 0.5}}


def network():
    torch.manual_seed(0)
    return build_model(FA_CNN | ONE_STAGE, task(2, image_size=4))


def trainer(**recipe) -> Trainer:
    return Trainer(network(), image_set(10), None, RECIPE | recipe, torch.tensor([0.5, 0.5, 0.5]), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("locality", [0.0, 1.0])
def test_compiled_steps_are_the_others_up_to_rounding_and_are_gone_on_with_bit_for_bit(locality, tmp_path):
    if reason := obstacle(CPU):
        pytest.skip(f"torch can't compile here: {reason}")
    whole, path = trainer(compile="always", locality=locality), tmp_path / "state.pt"
    assert whole.compiled
    whole.fit(lambda: torch.save(whole.state(), path) if len(whole.history) == 1 else None)
    weights = whole.model.state_dict()

    rest = trainer(compile="always", locality=locality)
    rest.restore(torch.load(path, weights_only=True))
    assert not equal(rest.model.state_dict(), weights)
    rest.fit(lambda: None)
    assert equal(rest.model.state_dict(), weights)

    eager = trainer(locality=locality)
    assert not eager.compiled
    eager.fit(lambda: None)
    for name, value in eager.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4, msg=name)
    other = Trainer(network(), image_set(10), None, RECIPE, whole.colour, seed=1)  # another order of the images
    other.fit(lambda: None)
    assert any(not torch.allclose(weights[n], v, rtol=1e-3, atol=1e-4) for n, v in other.model.state_dict().items())


def test_auto_compiles_a_long_training_on_a_cpu_in_one_process_where_torch_can(monkeypatch):
    monkeypatch.setattr(compiled, "count_macs", lambda model, image: 1000)
    monkeypatch.setattr(compiled, "obstacle", lambda device: None)
    long = int(compiled.WORTH / 1000)
    assert choose_compile("auto", network(), SHAPE, long, CPU, ALONE)
    assert not choose_compile("auto", network(), SHAPE, long - 1, CPU, ALONE)
    assert not choose_compile("auto", network(), SHAPE, long, torch.device("meta"), ALONE)
    assert not choose_compile("auto", network(), SHAPE, long, CPU, World(0, 2))
    assert not choose_compile("never", network(), SHAPE, long, CPU, ALONE)
    assert choose_compile("always", network(), SHAPE, 1, CPU, ALONE)
    monkeypatch.setattr(compiled, "obstacle", lambda device: "no C++ compiler")
    assert not choose_compile("auto", network(), SHAPE, long, CPU, ALONE)


def test_the_work_is_that_of_the_network_on_images_of_this_size(monkeypatch):
    monkeypatch.setattr(compiled, "obstacle", lambda device: None)
    macs = compiled.count_macs(network().eval(), torch.zeros(1, 3, 4, 4))
    enough = -(-int(compiled.WORTH) // macs)
    assert choose_compile("auto", network(), SHAPE, enough, CPU, ALONE)
    assert not choose_compile("auto", network(), SHAPE, enough - 1, CPU, ALONE)
    assert choose_compile("auto", network(), torch.Size([10, 3, 8, 8]), enough - 1, CPU, ALONE)


def test_always_is_refused_where_it_cannot_be(monkeypatch):
    with pytest.raises(InputError, match="several processes"):
        choose_compile("always", network(), SHAPE, 1, CPU, World(0, 2))
    monkeypatch.setattr(compiled, "obstacle", lambda device: "no C++ compiler")
    with pytest.raises(InputError, match=r"can't compile here \(no C\+\+ compiler\)"):
        choose_compile("always", network(), SHAPE, 1, CPU, ALONE)


def test_what_the_compiler_raises_is_an_obstacle(monkeypatch):
    def fail(function):
        raise RuntimeError("no g++\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    obstacle.cache_clear()
    assert obstacle(CPU) == "RuntimeError: no g++"
    obstacle.cache_clear()


def test_the_compilers_errors_are_told_apart_from_the_networks():
    class CompilerError(RuntimeError):
        __module__ = "torch._dynamo.exc"

    with (
        pytest.raises(InputError, match=r"can't compile this network \(CompilerError: \).*compile=never"),
        compiler_errors(),
    ):
        raise CompilerError
    with pytest.raises(RuntimeError, match="of the network"), compiler_errors():
        raise RuntimeError("of the network")
