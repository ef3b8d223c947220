"""The device, its precision and its memory format: as asked, or refused."""

import pytest
import torch

from fa_repro import device
from fa_repro.errors import InputError


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for word in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"^device={word}: .*device=cpu"):
            device.choose_device(word)
    assert device.choose_device("auto") == device.choose_device("cpu") == torch.device("cpu")


def test_precision_and_memory_format_as_asked(monkeypatch):
    cpu = torch.device("cpu")
    assert device.choose_precision("fp32", cpu) == torch.float32
    assert device.choose_precision("bf16", cpu) == torch.bfloat16
    for native in (True, False):
        monkeypatch.setattr(device, "bf16_is_native", lambda _, native=native: native)
        assert device.choose_precision("auto", cpu) == (torch.bfloat16 if native else torch.float32)
    assert device.choose_memory_format("contiguous") == torch.contiguous_format
    assert device.choose_memory_format("channels_last") == torch.channels_last
