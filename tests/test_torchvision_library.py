"""torchvision's parts: as they are, or one line that says what to install."""

import sys
from importlib import import_module

import pytest

from fa_repro.data import load_data
from fa_repro.torchvision_library import torchvision_part
from refusals import refusal


def test_a_part_is_torchvisions_own():
    import torchvision

    assert torchvision_part("models") is torchvision.models


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'torchvision'"), "No module named 'torchvision'"),
        (RuntimeError("operator torchvision::nms does not exist\nmore"), "operator torchvision::nms does not exist"),
    ],
)
def test_a_torchvision_that_does_not_fit_is_refused_in_one_line(monkeypatch, tmp_path, data_config, error, words):
    def broken(name):
        if name.startswith("torchvision."):
            raise error
        return import_module(name)

    monkeypatch.setattr("fa_repro.torchvision_library.import_module", broken)
    said = refusal(torchvision_part, "datasets")
    assert words in said and "pip install --upgrade torch torchvision" in said
    (tmp_path / "test" / "a").mkdir(parents=True)
    for config in (data_config("image_folder", tmp_path), data_config("mnist", tmp_path)):
        assert refusal(load_data, config, "test") == said
    assert "torchvision" in sys.modules  # it was there all the time
