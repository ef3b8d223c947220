"""The device, its precision and its memory format: as asked, or refused."""

import platform

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


def test_a_gpu_is_the_first_or_the_process_own_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "deterministic", False)
    monkeypatch.setattr(cudnn, "benchmark", True)
    assert device.choose_device("cpu") == torch.device("cpu") and not cudnn.deterministic and cudnn.benchmark
    assert device.choose_device("auto") == torch.device("cuda")
    assert cudnn.deterministic and not cudnn.benchmark
    assert device.choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match=r"^device=cuda:2: torch sees 2 CUDA devices here"):
        device.choose_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.choose_device("auto") == device.choose_device("cuda") == torch.device("cuda:1")
    assert device.choose_device("cuda:0") == torch.device("cuda:0")  # asked for by its number
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device.choose_device("cuda") == torch.device("cuda:1")
    with pytest.raises(InputError, match=r"^device=cuda:0: every process would take this GPU"):
        device.choose_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"^device=cuda:2: "):
        device.choose_device("auto")


CPUINFO = "processor\t: 0\nmodel name\t: A Processor: fast\nflags\t\t: avx2 {flag} fma\n\nmodel name\t: B\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make a machine out of what its system says of the processor; None: there is no such file."""

    def make(info, processor="", threads=2):
        file = tmp_path / "cpuinfo"
        file.unlink(missing_ok=True)
        if info is not None:
            file.write_text(info)
        monkeypatch.setattr(device, "CPUINFO", file)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(platform, "processor", lambda: processor)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return torch.device("cpu")

    return make


def test_a_processor_is_described_by_its_name_and_threads(machine):
    assert device.describe(machine(CPUINFO)) == "cpu A Processor: fast (x86_64), 2 threads"
    assert device.describe(machine(CPUINFO, threads=1)) == "cpu A Processor: fast (x86_64), 1 thread"
    for info in (None, "", "flags : avx2\n", "model name :\n"):
        assert device.describe(machine(info, "i386")) == "cpu i386 (x86_64), 2 threads"
        assert device.describe(machine(info, "x86_64")) == device.describe(machine(info)) == "cpu x86_64, 2 threads"


@pytest.mark.parametrize(("flag", "native"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512_bf16x", False)])
def test_bf16_is_native_where_the_processor_has_instructions_for_it(machine, flag, native):
    assert device.bf16_is_native(machine(CPUINFO.format(flag=flag))) == native
    assert not device.bf16_is_native(machine(None))


def test_precision_and_memory_format_as_asked(monkeypatch):
    cpu = torch.device("cpu")
    assert device.choose_precision("fp32", cpu) == torch.float32
    assert device.choose_precision("bf16", cpu) == torch.bfloat16
    for native in (True, False):
        monkeypatch.setattr(device, "bf16_is_native", lambda _, native=native: native)
        assert device.choose_precision("auto", cpu) == (torch.bfloat16 if native else torch.float32)
    assert device.choose_memory_format("contiguous") == torch.contiguous_format
    assert device.choose_memory_format("channels_last") == torch.channels_last
    assert device.choose_memory_format("auto") == torch.channels_last
