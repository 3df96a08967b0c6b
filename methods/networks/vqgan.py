"""The autoencoder of latent diffusion with a codebook (VQGAN "f4"; Esser et al., 2021, Rombach et al., 2022), frozen.

Built from numbers, and filled by `load` from a local folder in the layout of diffusers. Nothing here reaches the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import ContractError
from sarbench.methods.networks.diffusion_unet import Attention, Form, ResidualBlock, Upsample

CHANNELS = 3  # of images and, as it happens, of codes
FORM = Form(groups=32)
EPS = 1e-6  # of the normalisations
POSITIONS = 4096  # that are compared with the codebook at once
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
PARTS = {"first.0": "norm1", "first.2": "conv1", "second.0": "norm2", "second.2": "conv2", "skip": "conv_shortcut"}
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


class Named(nn.Module):
    """Layers in a row, each with the name that its tensors have in the published file."""

    def __init__(self, layers: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.names = [name for name, _ in layers]
        self.layers = nn.Sequential(*[layer for _, layer in layers])
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                module.eps = EPS
        self.requires_grad_(False)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the published tensors; KeyError or RuntimeError for those of another network."""
        for name, layer in zip(self.names, self.layers, strict=True):
            if name:
                layer.load_state_dict({own: _published(state, name, own, value) for own, value in layer.state_dict().items()})


class Encoder(Named):
    """Images to their code, which is not quantised: that is left to the decoder, as latent diffusion does."""

    def __init__(
        self,
        channels: int = CHANNELS,
        latent_channels: int = CHANNELS,
        *,
        widths: Sequence[int] = (128, 256, 512),
        blocks: int = 2,
    ) -> None:
        layers: list[tuple[str, nn.Module]] = [("encoder.conv_in", nn.Conv2d(channels, widths[0], 3, padding=1))]
        c = widths[0]
        for level, width in enumerate(widths):
            for i in range(blocks):
                layers.append((f"encoder.down_blocks.{level}.resnets.{i}", ResidualBlock(c, width, form=FORM)))
                c = width
            if level < len(widths) - 1:
                layers.append((f"encoder.down_blocks.{level}.downsamplers.0.conv", Halved(c)))
        layers += [*_middle("encoder", c), ("encoder.conv_norm_out", FORM.norm(c)), ("", nn.SiLU())]
        layers += [("encoder.conv_out", nn.Conv2d(c, latent_channels, 3, padding=1))]
        super().__init__([*layers, ("quant_conv", nn.Conv2d(latent_channels, latent_channels, 1))])
        self.factor = 2 ** (len(widths) - 1)  # how many times smaller the code is than the image

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L h w"]:
        """The code of images in [-1, 1], float32."""
        return self.layers(image).float()


class Decoder(Named):
    """Codes to images, by way of the nearest entries of the codebook."""

    def __init__(
        self,
        channels: int = CHANNELS,
        latent_channels: int = CHANNELS,
        *,
        widths: Sequence[int] = (128, 256, 512),
        blocks: int = 2,
        entries: int = 8192,
    ) -> None:
        c = widths[-1]
        layers: list[tuple[str, nn.Module]] = [("post_quant_conv", nn.Conv2d(latent_channels, latent_channels, 1))]
        layers += [("decoder.conv_in", nn.Conv2d(latent_channels, c, 3, padding=1)), *_middle("decoder", c)]
        for level, width in enumerate(reversed(widths)):
            for i in range(blocks + 1):
                layers.append((f"decoder.up_blocks.{level}.resnets.{i}", ResidualBlock(c, width, form=FORM)))
                c = width
            if level < len(widths) - 1:
                layers.append((f"decoder.up_blocks.{level}.upsamplers.0.conv", Upsample(c)))
        layers += [("decoder.conv_norm_out", FORM.norm(c)), ("", nn.SiLU())]
        super().__init__([*layers, ("decoder.conv_out", nn.Conv2d(c, channels, 3, padding=1))])
        self.codebook = nn.Parameter(torch.empty(entries, latent_channels).uniform_(-1.0, 1.0), requires_grad=False)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """As in `Named`, and the codebook."""
        super().load(state)
        stored = state["quantize.embedding.weight"]
        if stored.shape != self.codebook.shape:
            raise RuntimeError(f"the codebook is {tuple(stored.shape)}, expected {tuple(self.codebook.shape)}")
        self.codebook.copy_(stored)

    def forward(self, z: Float[Tensor, "B L h w"]) -> Float[Tensor, "B C H W"]:
        """Images about [-1, 1], not clamped, float32."""
        return self.layers(self.quantised(z)).float()

    def quantised(self, z: Float[Tensor, "B L h w"]) -> Float[Tensor, "B L h w"]:
        """Each position's nearest entry of the codebook; memory grows with the codebook alone."""
        codes = z.float().movedim(1, 3)  # (B, h, w, L)
        found = [torch.cdist(part, self.codebook).argmin(dim=1) for part in codes.reshape(-1, codes.shape[3]).split(POSITIONS)]
        return self.codebook[torch.cat(found)].reshape(codes.shape).movedim(3, 1)


class Halved(nn.Module):
    """Half the size, by a convolution that is padded below and to the right alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, h: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Half the height and width."""
        return self.layer(F.pad(h, (0, 1, 0, 1)))


def decoded(decoder: Decoder, z: Float[Tensor, "B L h w"]) -> Float[Tensor, "B C H W"]:
    """Images in [-1, 1] of codes, in float32 also under autocast: beside 1, bfloat16 has steps as wide as an 8-bit image."""
    with torch.autocast(z.device.type, enabled=False):
        return decoder(z.float()).clamp(-1.0, 1.0)


def refuse_other_channels(title: str, channels: int) -> None:
    """ContractError for images that the published autoencoder can't take."""
    if channels != CHANNELS:
        raise ContractError(
            f"{title} in the latent space translates {CHANNELS} channels to {CHANNELS}, got {channels}; choose a channel "
            "adapter of the dataset, such as --data-option channels=repeat, or --set space=pixels"
        )


def _middle(side: str, c: int) -> list[tuple[str, nn.Module]]:
    return [
        (f"{side}.mid_block.resnets.0", ResidualBlock(c, c, form=FORM)),
        (f"{side}.mid_block.attentions.0", Attention(c, 1, FORM)),
        (f"{side}.mid_block.resnets.1", ResidualBlock(c, c, form=FORM)),
    ]


# --- Weights from a folder -------------------------------------------------------------------------------------------


def load(folder: Path, encoder: Encoder, decoder: Decoder) -> None:
    """Fill both from a folder that has a part `vqvae` in the layout of diffusers: safetensors, or tensors pickled alone.

    Raises ContractError where the part is missing, damaged or of another network.
    """
    from safetensors.torch import load_file

    part = folder / "vqvae"
    path = next((part / name for name in FILES if (part / name).is_file()), None)
    if path is None:
        raise ContractError(f"{part} has neither {' nor '.join(FILES)}; copy the whole folder again")
    try:
        config = json.loads((part / "config.json").read_text())
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        for old, new in OLD_NAMES.items():  # of diffusers before 0.12
            state = {name.replace(old, new): value for name, value in state.items()}
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise ContractError(f"{part} can't be read ({error}); copy the whole folder again") from error
    try:
        with torch.no_grad():
            encoder.load(state)
            decoder.load(state)
        given = sum(value.numel() for value in state.values())
        taken = sum(p.numel() for network in (encoder, decoder) for p in network.parameters())
        if given != taken:
            raise RuntimeError(f"{given - taken} of its {given} numbers have no place")
    except (KeyError, RuntimeError, AttributeError) as error:
        kind = config.get("_class_name", "another network")
        raise ContractError(f"{path} ({kind}) is not the autoencoder that the config describes: {error}") from error


def _published(state: Mapping[str, Tensor], name: str, own: str, value: Tensor) -> Tensor:
    """The tensor that a layer calls `own`, from the published ones of the name `name`."""
    part, _, kind = own.rpartition(".")  # such as "first.0" and "weight"
    if part == "qkv":
        stored = torch.cat([state[f"{name}.{letter}.{kind}"] for letter in ("to_q", "to_k", "to_v")])
    elif ".attentions." in name:
        stored = state[f"{name}.{'group_norm' if part == 'norm' else 'to_out.0'}.{kind}"]
    else:
        renamed = PARTS.get(part)  # a part of a residual block; other layers are of one part
        stored = state[f"{name}.{renamed}.{kind}" if renamed else f"{name}.{kind}"]
    return stored.reshape(value.shape)  # 1x1 convolutions are stored as matrices
