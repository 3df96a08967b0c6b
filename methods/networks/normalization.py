"""Normalisation layers of the convolutional networks, and batch statistics that span all ranks."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["batch", "instance", "none"]
MOMENTUM = 0.1  # of running statistics: the weight of the newest batch


def layer(norm: Norm, channels: int) -> nn.Module:
    """The layer of that name: "batch" with, "instance" without learned scale and shift, "none" for none."""
    if norm == "batch":
        return BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.Identity()


def needs_bias(norm: Norm) -> bool:
    """Whether the convolution before the layer has a bias.

    Batch normalisation brings its own shift. Instance normalisation here brings none, and removes any constant before
    it: that bias changes nothing and its gradient is rounding noise, but the published networks count it.
    """
    return norm != "batch"


def moments(x: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Mean and standard deviation of each channel of each row, in float32.

    Huang and Belongie (2017), Eqs. 5 and 6: the variance is that of the pixels, not an estimate, and 1e-5 is added to it.
    """
    var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
    return mean, (var + 1e-5).sqrt()


def adaptive_instance_norm(
    x: Float[Tensor, "B C H W"], mean: Float[Tensor, "B C"], std: Float[Tensor, "B C"]
) -> Float[Tensor, "B C H W"]:
    """AdaIN (Huang and Belongie, 2017), Eq. 8: each channel of each row brought to the mean and spread given."""
    return F.instance_norm(x) * std[:, :, None, None].to(x.dtype) + mean[:, :, None, None].to(x.dtype)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy, 2015) over the rows of all ranks: n ranks of batch b act as one of n b.

    Same parameters and buffers as `nn.BatchNorm2d`, and its kernel wherever one process sees the whole batch. Every
    rank must hold equally many rows of one size, and run the same layers in the same order: two collectives a layer,
    one in the forward and one in the backward pass, on CPU (gloo) as on GPU (nccl).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=MOMENTUM)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalise each channel: by the batch of all ranks in training, by the running statistics in eval mode."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        wide = torch.promote_types(x.dtype, torch.float32)
        var, mean = torch.var_mean(x.to(wide), dim=(0, 2, 3), correction=0)  # (C,) each, of this rank
        # In float64, since the square of a large mean would drown the variance in float32.
        first, second = AverageOverRanks.apply(torch.stack([mean.double(), var.double() + mean.double() ** 2]))
        mean, var = first.to(wide), (second - first**2).to(wide).clamp_min(0.0)
        with torch.no_grad():
            n = x.numel() // x.shape[1] * dist.get_world_size()
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, MOMENTUM)  # type: ignore[union-attr]
            self.running_var.lerp_(var * (n / (n - 1)), MOMENTUM)  # type: ignore[union-attr]
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


class AverageOverRanks(torch.autograd.Function):
    """The mean of a tensor over all ranks, through which the ranks' gradients meet.

    The harness averages parameter gradients over ranks, so what flows back here is d(sum of the ranks' losses)/dx.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Average over ranks."""
        total = x.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The mean over ranks of the gradients of their means."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()
