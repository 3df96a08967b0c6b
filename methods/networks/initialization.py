"""Initial weights, as the papers give them; the default initialisation of PyTorch is none of theirs."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def normal(network: Module, std: float = 0.02) -> Module:
    """The network with convolution weights from N(0, std^2), batch norm scales from N(1, std^2), and zero biases.

    Source: DCGAN (Radford et al., 2016), Sec. 3; scales as in the official code of pix2pix and CycleGAN.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network


def xavier(network: Module, gain: float = 0.02) -> Module:
    """The network with normal Xavier weights (Glorot and Bengio, 2010) of this gain, and zero biases.

    Source: the official code of CUT. Networks with learned normalisation are not meant for it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def kaiming(network: Module) -> Module:
    """The network with normal weights of He et al. (2015) for ReLU, by the number of inputs, and zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
