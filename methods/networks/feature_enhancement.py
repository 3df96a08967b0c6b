"""The cross-modal feature enhancement of S2M2-SAR: what is of one sensor alone is taken away, what both share is added."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Two = tuple[Tensor, Tensor]  # feature maps of both sensors, (B, C, h, w) and (B, C, H, W)


class FeatureEnhancement(nn.Module):
    """`blocks` enhancement blocks for one level of the pyramid.

    Called on the features of both sensors, it gives them enhanced. 5,377,026 parameters for one block of 256 channels,
    84,354 for one of 32.
    """

    def __init__(self, channels: int, *, blocks: int = 1, heads: int = 8) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_EnhancementBlock(channels, heads) for _ in range(blocks))

    def forward(self, template: Tensor, search: Tensor) -> Two:
        """Both maps, enhanced; their shapes stay."""
        for block in self.blocks:
            template, search = block(template, search)
        return template, search


class _EnhancementBlock(nn.Module):
    """Less its own part, mixed over scales, plus what it finds in the other, mixed again."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.of_template, self.of_search = LinearAttention(channels, heads), LinearAttention(channels, heads)
        self.first, self.second = _MultiScale(channels), _MultiScale(channels)
        self.shared = LinearAttention(channels, heads)

    def forward(self, template: Tensor, search: Tensor) -> Two:
        template = self.first(template - self.of_template(template, template))
        search = self.first(search - self.of_search(search, search))
        found, found_there = self.shared(template, search), self.shared(search, template)
        return self.second(template + found), self.second(search + found_there)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the positions (Katharopoulos et al., 2020): the feature map is elu + 1.

    Bias-free query, key, value and merging layers, and a layer norm on the result; no positions, no residual.
    """

    EPS = 1e-6

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.merge = (nn.Linear(channels, channels, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "B C h w"], other: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """What each position of x finds in all positions of the other."""

        def headed(layer: nn.Linear, m: Tensor) -> Tensor:
            return (layer.weight @ m.flatten(2)).unflatten(1, (self.heads, -1))  # (B, heads, C/heads, N)

        q, k, v = F.elu(headed(self.q, x)) + 1, F.elu(headed(self.k, other)) + 1, headed(self.v, other)
        n = k.shape[3]  # sums over all positions are means here, since those of a large map are large
        context = v @ k.transpose(2, 3) / n  # (B, heads, C/heads, C/heads)
        weight = (q * k.mean(3, keepdim=True)).sum(2, keepdim=True) + self.EPS / n  # (B, heads, 1, N)
        out = self.merge.weight @ (context @ q / weight).flatten(1, 2)  # (B, C, N)
        return self.norm(out.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class _MultiScale(nn.Module):
    """PReLU of the sum of three convolutions, of 1, 3 and 5 px, each under a leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, k, padding=k // 2) for k in (1, 3, 5))
        self.out = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = (F.leaky_relu(convolution(x), 0.1) for convolution in self.convolutions)
        return self.out(sum(rest, first))
