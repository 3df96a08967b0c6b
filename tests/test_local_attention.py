from __future__ import annotations

import torch
from torch import nn

from sarbench.methods.networks.local_attention import LocalSelfAttention


def build(channels: int = 8, window: int = 4, heads: int = 2) -> LocalSelfAttention:
    torch.manual_seed(0)
    return LocalSelfAttention(channels, window=window, heads=heads)


def test_it_is_softmax_attention_in_each_window_and_head():
    network, x = build(), torch.randn(2, 8, 8, 12)
    Q, K, V = network.project(network.norm(x)).chunk(3, dim=1)
    mixed = torch.zeros_like(V)
    for top in range(0, 8, 4):
        for left in range(0, 12, 4):
            for head in (slice(0, 4), slice(4, 8)):
                place = (slice(None), head, slice(top, top + 4), slice(left, left + 4))
                q, k, v = (part[place].flatten(2).mT for part in (Q, K, V))  # (2, 16, 4) each
                weights = torch.softmax(q @ k.mT / 2, dim=2)  # 2: the root of 4 channels
                mixed[place] = (weights @ v).mT.unflatten(2, (4, 4))
    torch.testing.assert_close(network(x), x + network.out(mixed))


def test_a_position_sees_its_window_and_no_further():
    network = build()
    network.norm = nn.Identity()  # which sees the whole image
    x = torch.randn(1, 8, 12, 12, requires_grad=True)
    network(x)[0, :, 5, 6].sum().backward()
    seen = x.grad[0].abs().sum(dim=0).nonzero()
    assert seen.min(dim=0).values.tolist() == [4, 4]
    assert seen.max(dim=0).values.tolist() == [7, 7]
    assert len(seen) == 16


def test_without_its_last_layer_it_changes_nothing():
    network, x = build(), torch.randn(1, 8, 8, 8)
    nn.init.zeros_(network.out.weight)
    nn.init.zeros_(network.out.bias)
    assert torch.equal(network(x), x)
