"""Self-attention within windows, whose cost grows with the positions and not with their square."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LocalSelfAttention(nn.Module):
    """x + attention(x) among the positions of each window of `window` x `window`, which do not overlap.

    Like places in a window are averaged, which takes noise such as speckle away and leaves edges. Instance normalisation
    comes first. H and W are multiples of the window.
    """

    def __init__(self, channels: int, *, window: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.norm = nn.InstanceNorm2d(channels)
        self.project = nn.Conv2d(channels, 3 * channels, 1, bias=False)  # to queries, keys and values
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same shape."""
        w, k = self.window, self.heads
        split = self.project(self.norm(x)).unflatten(3, (-1, w)).unflatten(2, (-1, w)).unflatten(1, (3, k, -1))
        windows = split.permute(1, 0, 4, 6, 2, 5, 7, 3)  # (3, B, H/w, W/w, k, w, w, C/k)
        Q, K, V = windows.flatten(5, 6).flatten(1, 3)  # (B windows, k, w w, C/k) each
        mixed = F.scaled_dot_product_attention(Q, K, V).unflatten(2, (w, w)).unflatten(0, windows.shape[1:4])
        return x + self.out(mixed.permute(0, 3, 6, 1, 4, 2, 5).flatten(5, 6).flatten(3, 4).flatten(1, 2))  # (B, C, H, W)
