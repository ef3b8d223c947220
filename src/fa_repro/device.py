"""Where a run computes, and how: device, precision and memory format."""

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fa_repro.errors import InputError

CPUINFO = Path("/proc/cpuinfo")  # Linux alone has it


def choose_device(word: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: the machine has no such device, or several processes would share one GPU.

    """
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "cpu"
    if word == "cuda" and "LOCAL_RANK" in os.environ:
        word = f"cuda:{os.environ['LOCAL_RANK']}"  # torchrun's processes take a GPU each
    elif word.startswith("cuda:") and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise InputError(f"device={word}: every process would take this GPU. Give device=cuda, and each takes its own.")
    device = torch.device(word)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise InputError(f"device={word}: torch sees {count} CUDA devices here. Give device=cpu or device=auto.")
        torch.backends.cudnn.deterministic = True  # the same seed gives the same weights, resumed or not
        torch.backends.cudnn.benchmark = False
    return device


def describe(device: torch.device) -> str:
    """Return the device in words, such as ``cpu AMD EPYC (x86_64), 2 threads``."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    threads, machine = torch.get_num_threads(), platform.machine()
    # Without a model name, as on macOS, it is the processor's family, or nothing.
    name = _cpuinfo("model name") or platform.processor()
    processor = machine if name in ("", machine) else f"{name} ({machine})"
    return f"cpu {processor}, {threads} thread{'s' * (threads != 1)}"


def _cpuinfo(key: str) -> str:
    """Return what Linux says of the first processor under ``key``; empty where it says nothing."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == key), "")


def choose_precision(word: str, device: torch.device) -> torch.dtype:
    """Return the autocast dtype for ``fp32``, ``bf16`` or ``auto`` (bf16 where the device multiplies it natively).

    A processor without bf16 instructions emulates them: on one such machine (2 cores, AVX2) a training step took
    10 times as long as in fp32.
    """
    if word == "auto":
        word = "bf16" if bf16_is_native(device) else "fp32"
    return torch.bfloat16 if word == "bf16" else torch.float32


def bf16_is_native(device: torch.device) -> bool:
    """Return whether ``device`` has instructions for bf16 products."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _cpuinfo("flags").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_memory_format(word: str) -> torch.memory_format:
    """Return the memory format for ``contiguous``, ``channels_last`` or ``auto``.

    Auto is channels_last. In fp32 on 2 AVX2 cores it trains the ResNet 1.3 times as fast as contiguous and the FA-CNN
    as fast; on 2 AVX-512 cores it leads in fp32 and in bf16 (``results/cifar10/benchmark-speed``). Other devices were
    not measured: ``fa-repro benchmark-speed`` times both, in every precision that a device has.
    """
    if word == "auto":
        word = "channels_last"
    return torch.channels_last if word == "channels_last" else torch.contiguous_format


def arithmetic(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which ``precision`` is what it says: autocast, or no TF32."""
    return true_fp32(precision) if precision == torch.float32 else autocast(device, precision)


def true_fp32(precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return a context without TF32; for another ``precision`` than float32 one that does nothing.

    By default a GPU rounds the factors of fp32's convolutions to 10 bits (TF32), differently in different algorithms.
    """
    if precision == torch.float32:
        return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    return contextlib.nullcontext()


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Return an autocast context in ``precision``; none for float32."""
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return ``values``, which lie on the CPU, on ``device``, without waiting for what it is at work on."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
