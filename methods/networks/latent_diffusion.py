"""Stable Diffusion (Rombach et al., 2022) as three networks of images, codes and noise, through `diffusers`.

They are built from numbers and filled by `load` from a local folder in the layout of diffusers: `unet`, `vae`,
`text_encoder`, `tokenizer` and `scheduler`. Nothing here reaches the network. `diffusers` and `transformers` are
imported when a network is built or filled, since that takes seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sarbench.bench.interface import ContractError

FACTOR = 0.18215  # what Stable Diffusion multiplies its latent code by, so that its variance is about 1


class PromptedUNet(nn.Module):
    """The U-Net of Stable Diffusion 2 for any channel counts, under one prompt for every image.

    Defaults of the paper's U-Net: widths (320, 640, 1280, 1280), 2 blocks, heads (5, 10, 20, 20), context_width 1024:
    865,925,125 parameters from 8 to 5 channels. Every size but the smallest attends to the prompt. The last output
    channel starts at zero.
    """

    context: Tensor  # (1, tokens, context_width): the embedded prompt, computed once; one zero vector says nothing

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        widths: Sequence[int],
        blocks: int,
        heads: Sequence[int],
        context_width: int,
    ) -> None:
        super().__init__()
        deeper = len(widths) - 1
        self.unet = _library("diffusers").UNet2DConditionModel(
            in_channels=channels_in,
            out_channels=channels_out,
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            attention_head_dim=tuple(heads),  # diffusers' name for the number of heads
            cross_attention_dim=context_width,
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D",) * deeper + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * deeper,
        )
        nn.init.zeros_(self.unet.conv_out.weight[-1])
        nn.init.zeros_(self.unet.conv_out.bias[-1])
        self.register_buffer("context", torch.zeros(1, 1, context_width))

    def forward(self, z: Float[Tensor, "B C_in H W"], t: Int64[Tensor, " B"]) -> Float[Tensor, "B C_out H W"]:
        """The prediction for z at step t, float32."""
        context = self.context.expand(len(z), -1, -1)
        return self.unet(z, t, encoder_hidden_states=context, return_dict=False)[0].float()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        stored = state_dict.get(prefix + "context")
        if stored is not None:  # its length is that of the prompt
            self.context = torch.empty_like(stored, device=self.context.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class Encoder(nn.Module):
    """The frozen encoder of Stable Diffusion: images to the distribution of their code, already times 0.18215."""

    def __init__(self, channels: int, latent_channels: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.factor = 2 ** (len(widths) - 1)  # how many times smaller the code is than the image
        vae = _autoencoder(channels, latent_channels, widths)
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B L h w"], Float[Tensor, "B L h w"]]:
        """Mean and log variance of the code of images in [-1, 1], float32."""
        mean, log_var = self.quant_conv(self.encoder(image)).float().chunk(2, dim=1)
        return FACTOR * mean, log_var.clamp(-30.0, 20.0) + 2.0 * math.log(FACTOR)


class Decoder(nn.Module):
    """The frozen decoder of Stable Diffusion: codes times 0.18215 to images."""

    def __init__(self, channels: int, latent_channels: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        vae = _autoencoder(channels, latent_channels, widths)
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder
        self.requires_grad_(False)

    def forward(self, z: Float[Tensor, "B L h w"]) -> Float[Tensor, "B C H W"]:
        """Images about [-1, 1], not clamped, float32."""
        return self.decoder(self.post_quant_conv(z / FACTOR)).float()


def _autoencoder(channels: int, latent_channels: int, widths: Sequence[int]) -> Any:
    return _library("diffusers").AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=latent_channels,
        block_out_channels=tuple(widths),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
    )


def _library(name: str) -> ModuleType:
    """`diffusers` or `transformers`; ContractError where the extra is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ContractError(f"Stable Diffusion needs {name} ({error}): run pip install 'sarbench[diffusion]'") from error


# --- Weights from a folder -------------------------------------------------------------------------------------------


def load(
    folder: Path, encoder: Encoder, decoder: Decoder, unet: PromptedUNet, *, prompt: str | None, with_unet: bool = True
) -> None:
    """Fill the networks from a folder in the layout of diffusers, and embed the prompt; None: no text at all.

    with_unet  False leaves the U-Net as it was drawn
    The U-Net in the folder has the latent channels alone, in and out; see `widened`. Only safetensors are read.
    Raises ContractError where a part is missing, damaged or of another model.
    """
    diffusers = _library("diffusers")
    _refuse_other_process(folder)
    vae = _part(diffusers.AutoencoderKL, folder, "vae").state_dict()
    for network in (encoder, decoder):
        _fill(network, {name: value for name, value in vae.items() if name in network.state_dict()}, folder / "vae")
    if with_unet:
        state = _part(diffusers.UNet2DConditionModel, folder, "unet").state_dict()
        _fill(unet.unet, widened(state), folder / "unet")
    if prompt is not None:
        unet.context = embedded(folder, prompt).to(unet.context.device)


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a text-to-image U-Net as that of one with twice the input channels and one output channel more.

    The first convolution sees each half of its input as it saw the whole, at half the strength; the new output channel
    is zero. So, where both halves are equal, the widened network predicts what the original did.
    """
    first, last, bias = (state[name] for name in ("conv_in.weight", "conv_out.weight", "conv_out.bias"))
    changed = {
        "conv_in.weight": 0.5 * torch.cat([first, first], dim=1),
        "conv_out.weight": torch.cat([last, torch.zeros_like(last[:1])]),
        "conv_out.bias": torch.cat([bias, torch.zeros_like(bias[:1])]),
    }
    return {**state, **changed}


def embedded(folder: Path, prompt: str) -> Float[Tensor, "1 tokens width"]:
    """The prompt by the folder's tokenizer and text encoder, not padded to the tokenizer's full length."""
    transformers = _library("transformers")
    tokens = _part(transformers.CLIPTokenizer, folder, "tokenizer")(prompt, return_tensors="pt").input_ids
    encoder = _part(transformers.CLIPTextModel, folder, "text_encoder").eval()
    with torch.no_grad():
        return encoder(tokens).last_hidden_state.float()


def _refuse_other_process(folder: Path) -> None:
    """Raise ContractError for a model that predicts something other than noise: 2.1 for 768 px looks just like 2.1-base."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        predicts = json.loads(path.read_text()).get("prediction_type", "epsilon")
    except (OSError, ValueError, AttributeError) as error:
        raise ContractError(f"{path} can't be read ({error}); copy the whole model folder again") from error
    if predicts != "epsilon":
        raise ContractError(f"{folder} holds a model that predicts {predicts}, not epsilon; take stable-diffusion-2-1-base")


def _part(cls: Any, folder: Path, name: str) -> Any:
    """A part of the model by the library that made it, from this folder alone."""
    words: dict[str, Any] = {"local_files_only": True}
    if issubclass(cls, nn.Module):
        words |= {"use_safetensors": True, "torch_dtype": torch.float32}
    if not (folder / name).is_dir():
        raise ContractError(f"{folder / name}: no such folder; a model in the layout of diffusers has it: copy it again")
    try:
        return cls.from_pretrained(str(folder / name), **words)
    except Exception as error:  # whatever the libraries raise for a bad file
        raise ContractError(f"{folder / name} can't be read as a {cls.__name__} ({error}); copy it again") from error


def _fill(network: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ContractError(f"{where} holds another model than the config describes: {error}") from error
