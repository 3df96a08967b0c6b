"""What a method costs: parameters, floating-point operations, memory."""

from __future__ import annotations

import platform
import resource
import sys

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sarbench.bench.interface import Method
from sarbench.bench.matcher import Matcher
from sarbench.bench.train import Hardware


def translation_cost(method: Method, source: Tensor, hardware: Hardware) -> tuple[int, int]:
    """Parameters that translating uses, and FLOPs for one image (a multiply-add counts two).

    `source` is one image (1, C, H, W), cut here to the sides that the method can take; the FLOPs are scaled back to
    the whole. Parameters count if the module that holds them runs.
    """
    height, width = source.shape[2:]
    multiple = method.size_multiple
    image = source[:, :, : max(multiple, height // multiple * multiple), : max(multiple, width // multiple * multiple)]
    seeds = torch.zeros(1, dtype=torch.int64, device=hardware.device)
    used: set[nn.Parameter] = set()
    hooks = [
        module.register_forward_pre_hook(lambda module, args: used.update(module.parameters(recurse=False)))
        for module in method.modules()
        if module is not method
    ]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            method.eval().translate(image.to(hardware.device), seeds)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(p.numel() for p in used), round(counter.get_total_flops() * height * width / image[0, 0].numel())


def matching_cost(matcher: Matcher, template: Tensor, search: Tensor) -> tuple[int, int]:
    """Parameters of a matcher, and FLOPs for one template (a multiply-add counts two; those of an FFT are not counted).

    Images (1, C, H, W) on the matcher's device, which may be "meta".
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        matcher.eval().match(template, search)
    return sum(p.numel() for p in matcher.parameters()), counter.get_total_flops()


def peak_memory_bytes(hardware: Hardware) -> int:
    """The largest memory so far: of the GPU where there is one, else of this process."""
    if hardware.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(hardware.device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_name(hardware: Hardware) -> str:
    """What the run ran on, for a reader."""
    if hardware.device.startswith("cuda"):
        return torch.cuda.get_device_name(hardware.device)
    return f"CPU {platform.machine()}"
