"""C-DiffSET: Leveraging Latent Diffusion for SAR-to-EO Image Translation with Confidence-Guided Reliable Object Generation.

Do, Lee and Kim, 2024, https://arxiv.org/abs/2411.10788
Differs from the paper: by default the loss and the two stages of the authors' code, since Eq. 3 read literally has its
optimum beside zero error (`loss`, `stages`). The presets `bench` and `tiny` have no pretrained latent diffusion model:
a small U-Net without a prompt, in the code of a small VAE that the run trains alone in the first share of its budget.

A U-Net from nothing has to learn to read the source, which it does at steps where hardly anything of the target is left:
what is where is decided there. An error of the noise weighs an error of the code by abar / (1 - abar), so next to nothing
there, and the code's smoothness tells enough at all other steps. So the small U-Net says, and its loss compares, the
velocity, which weighs an error of the code by 1 / (1 - abar); the schedule ends in noise alone, which is what a translation
starts from; and z_t is handed to it as sqrt(abar) z_t, so that this noise does not stand beside z_x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Batch, Card, ContractError, Method, Player, Schedule, Turn, adamw, normal, setting
from sarbench.methods.losses.confidence_diffusion import Mode, c_diff, confidence
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.losses.variational import kl_to_standard_normal
from sarbench.methods.networks import latent_diffusion, latent_diffusion_vae
from sarbench.methods.networks.diffusion_unet import DiffusionUNet, Form
from sarbench.methods.processes import ddim, ddpm

STABLE_DIFFUSION = "stable-diffusion-2-1-base"
CHANNELS = 3  # of an image that the VAE takes: "Scalability across diverse satellites", Sec. 4.5
SCALED = Form(scale_shift=True)  # of the small U-Net: the step decides what is listened to, the code of x or the noisy one of y
MIDDLE = 0.5  # the share of the sampling steps after which a confidence map is read: t = T/2, Sec. 4.4


@dataclass(frozen=True)
class Config:
    """Hyperparameters of C-DiffSET; the defaults are the paper's at 256x256 px."""

    backbone: Literal["stable_diffusion", "small"] = setting("stable_diffusion", "Sec. 3.1: the pretrained LDM")
    pretrained: bool = setting(True, "Table 3: False draws the U-Net at random; the VAE is pretrained in any case")
    prompt: str | None = setting("electro-optical image", "Sec. 3.3; '' is an empty prompt, None no text at all")
    unet_widths: tuple[int, ...] = setting((320, 640, 1280, 1280), "Stable Diffusion 2.1")
    unet_blocks: int = setting(2, "Stable Diffusion 2.1: per size")
    unet_heads: tuple[int, ...] = setting((5, 10, 20, 20), "Stable Diffusion 2.1; a small U-Net has no attention at 0")
    context_width: int = setting(1024, "Stable Diffusion 2.1: of the text embedding")
    vae_widths: tuple[int, ...] = setting(
        (128, 256, 512, 512), "Stable Diffusion 2.1: h = H/8; the small VAE has one size less"
    )
    latent_channels: int = setting(4, "Stable Diffusion 2.1")
    output: Literal["noise", "velocity"] = setting(
        "noise", "SD 2.1-base, Eq. 3: what the U-Net says and the loss compares; velocity: ours, for a U-Net from nothing"
    )
    T: int = setting(1000, "Sec. 3.3")
    beta_first: float = setting(0.00085, "Stable Diffusion 2.1: scaled linear betas")
    beta_last: float = setting(0.012, "Stable Diffusion 2.1; more: ours, small backbone, whose schedule ends in noise alone")
    steps: int = setting(50, "Sec. 4.1 and Fig. 9: DDIM steps of a translation", trains=False)
    loss: Literal["official", "eq3_sq", "eq3_literal", "mse"] = setting("official", "official code; Eq. 3; Table 3: mse")
    beta: float | None = setting(None, "official code: None is sqrt(abar_t); Eq. 3 has 1")
    stages: int = setting(2, "official code: first half of the budget with mse; the paper has 1")
    learning_rate: float = setting(3e-5, "Sec. 4.1")
    weight_decay: float = setting(0.01, "official code: default of AdamW")
    warmup: float = setting(0.002, "official code: 100 of the 50,000 iterations of a stage")
    batch_size: int = setting(64, "Sec. 4.1: 64 at 256x256 px, 16 at 512x512 px")
    autoencoder_share: float = setting(0.25, "ours, small backbone: the share of the budget in which the VAE learns")
    autoencoder_rate: float = setting(1e-3, "ours, small backbone: learning rate of the VAE")
    lambda_kl: float = setting(1e-3, "ours, small backbone: beside a reconstruction loss of weight 1")


PAPER = Config()
SMALL = replace(PAPER, backbone="small", pretrained=False, prompt=None, output="velocity", beta_last=0.03)


class CDiffSET(Method):
    """A latent diffusion model, conditioned on the code of the SAR image, that also predicts where it can be trusted."""

    card = Card(
        title="C-DiffSET",
        paper="https://arxiv.org/abs/2411.10788",
        year=2024,
        supervision="paired",
        channels="any",
        size_multiple=64,
        stochastic=True,
        evaluations=50,
        pretrained=("stable-diffusion-2-1-base",),
        fidelity="adapted",
        deviations=(
            "No pretrained LDM in the presets bench and tiny: a small U-Net without prompt in the code of a small VAE.",
            "In those presets the VAE learns in the first quarter of the budget; U-Net and both stages share the rest.",
            "In those presets output and loss, so the residual of C-Diff too, are of the velocity, not of the noise.",
            "In those presets the noise schedule ends in noise alone: beta_last is 0.03, in tiny 0.2 with 5 steps.",
            "In those presets the U-Net is given sqrt(abar) z_t for z_t, and the step scales what its blocks normalise.",
            "In those presets the two rows of table 3 without C-Diff loss are one and the same run: none has a pretrained LDM.",
            "Loss and two stages as in the authors' code, not as in Eq. 3; both are settings.",
            "Both stages share the protocol's budget; the authors' code gives each 50,000 iterations.",
            "The moments of AdamW are kept between the two stages; the authors' code starts a new optimizer.",
            "The paper preset has batches of 64 at every size, where the paper has 16 at 512x512 px: --set batch_size=16.",
        ),
        licence="MIT; weights CreativeML Open RAIL++-M",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(
            SMALL,
            unet_widths=(128, 256, 384),
            unet_heads=(0, 4, 6),
            vae_widths=(64, 128, 256),
            learning_rate=2e-4,
            batch_size=32,
        ),
        "tiny": replace(
            SMALL,
            unet_widths=(48, 96),
            unet_blocks=1,
            unet_heads=(0, 2),
            vae_widths=(32, 64),
            beta_last=0.2,  # noise alone for most of the steps, so that a short training learns to read the source
            steps=5,  # with more, noise turns into clouds where so short a training leaves it unsure
            learning_rate=1.5e-3,  # a thousand updates in all, of VAE and U-Net together
            warmup=0.0,
            batch_size=4,
        ),
    }
    maps = ("confidence",)
    ablations = {
        "3": {
            "": {},
            "no C-Diff loss": {"loss": "mse"},
            "no pretrained LDM, no C-Diff loss": {"pretrained": "false", "loss": "mse"},
        },
        "figure 9": {
            "1 step": {"steps": "1"},
            "2 steps": {"steps": "2"},
            "5 steps": {"steps": "5"},
            "10 steps": {"steps": "10"},
            "25 steps": {"steps": "25"},
            "50 steps": {"steps": "50"},
            "100 steps": {"steps": "100"},
        },
        "section 3.3": {
            "": {},
            "one stage": {"stages": "1"},
            "Eq. 3 with the residual squared": {"loss": "eq3_sq", "beta": "1.0"},
            "Eq. 3 to the letter": {"loss": "eq3_literal", "beta": "1.0"},
        },
    }
    config: Config
    abar: Tensor  # (T,)

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        if source_channels not in (1, CHANNELS) or target_channels != CHANNELS:
            raise ContractError(
                f"C-DiffSET translates 1 or 3 channels to 3, got {source_channels} to {target_channels}; choose a channel "
                "adapter of the dataset, such as --data-option channels=hh-mean-vv for four polarisations"
            )
        c = config
        stable = c.backbone == "stable_diffusion"
        vae = latent_diffusion if stable else latent_diffusion_vae
        self.encoder = vae.Encoder(CHANNELS, c.latent_channels, widths=c.vae_widths)
        self.decoder = vae.Decoder(CHANNELS, c.latent_channels, widths=c.vae_widths)
        size = {"widths": c.unet_widths, "blocks": c.unet_blocks, "heads": c.unet_heads}
        channels = (2 * c.latent_channels, c.latent_channels + 1)  # z_x and z_y^t in; noise and confidence out
        self.unet = (
            latent_diffusion.PromptedUNet(*channels, **size, context_width=c.context_width)  # type: ignore[arg-type]
            if stable
            else DiffusionUNet(*channels, **size, form=SCALED)  # type: ignore[arg-type]
        )
        abar = ddpm.alpha_bar(ddpm.scaled_linear(c.beta_first, c.beta_last, c.T))
        self.register_buffer("abar", abar.float(), persistent=False)

    @property
    def size_multiple(self) -> int:
        """The halvings of the VAE and of the U-Net: 64 for the paper's 3 and 3."""
        return self.encoder.factor * 2 ** (len(self.config.unet_widths) - 1)

    @property
    def evaluations(self) -> int:
        """One evaluation of the U-Net a sampling step."""
        return self.config.steps

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Stable Diffusion, unless the backbone is small."""
        return (STABLE_DIFFUSION,) if self.config.backbone == "stable_diffusion" else ()

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """Stable Diffusion's VAE, embedded prompt and, unless `pretrained` is off, U-Net; nothing for the small backbone."""
        c = self.config
        if isinstance(self.unet, latent_diffusion.PromptedUNet):
            networks = (self.encoder, self.decoder, self.unet)
            latent_diffusion.load(find(STABLE_DIFFUSION), *networks, prompt=c.prompt, with_unet=c.pretrained)

    def players(self) -> dict[str, Player]:
        """The U-Net; before it, for the small backbone, the autoencoder."""
        c = self.config
        schedule = Restarted("cosine", warmup=c.warmup, bounds=self._stages)
        unet = {"unet": Player(self.unet, adamw(c.learning_rate, weight_decay=c.weight_decay, schedule=schedule))}
        if c.backbone == "stable_diffusion":
            return unet
        only_first = Restarted("cosine", bounds=(0.0, c.autoencoder_share, 1.0))
        return {"autoencoder": Player([self.encoder, self.decoder], adamw(c.autoencoder_rate, schedule=only_first))} | unet

    @property
    def _stages(self) -> tuple[float, ...]:
        """Where in the budget the stages of the U-Net begin and end; it starts when the code stands still."""
        c = self.config
        n = 1 if c.loss == "mse" else c.stages  # two of the same would be one that restarts
        start = c.autoencoder_share if c.backbone == "small" else 0.0
        return tuple(start + (1.0 - start) * i / n for i in range(n + 1))

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of the autoencoder while it learns; after that, one of the U-Net in its code."""
        c = self.config
        x, y, seeds = _rgb(batch.paired.source), batch.paired.target, batch.paired.seeds
        if c.backbone == "small" and progress < c.autoencoder_share:
            images = torch.cat([x, y])  # one VAE for both: Sec. 3.2
            mean, log_var = self.encoder(images)
            noise = torch.cat([normal(seeds, mean.shape[1:], f"code of {image}") for image in "xy"])
            yield (
                "autoencoder",
                {
                    "reconstruction": l1(self.decoder(mean + (0.5 * log_var).exp() * noise), images),
                    "kl": c.lambda_kl * kl_to_standard_normal(mean, log_var),
                },
            )
            return
        with torch.no_grad():
            z_x, z_y = self.encoder(torch.cat([x, y]))[0].chunk(2)  # (B, latent, h, w) each: the mean, as in the code
        eps = normal(seeds, z_y.shape[1:], "eps")
        t = ddpm.random_steps(seeds, c.T, "t")
        abar = self.abar[t]  # (B,)
        said, raw = self._evaluate(ddpm.noised(z_y, eps, abar), z_x, t)  # Eqs. 1 and 2
        right = eps if c.output == "noise" else ddpm.noised(eps, -z_y, abar)  # the velocity: see `noise_of_velocity`
        beta = abar.sqrt() if c.beta is None else torch.full_like(abar, c.beta)
        mode: Mode = "mse" if progress < self._stages[-2] else c.loss
        yield "unet", {"mse" if mode == "mse" else "c_diff": c_diff(right, said, raw, beta, mode)}  # Eq. 3

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """D_vae of the code that DDIM finds for the code of the source (Sec. 3.4)."""
        z_y, _ = self._sample(source, seeds)
        return self._decoded(z_y)

    def confidence_maps(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
        """Where translating these images is sure of itself half-way (Fig. 7): c, from its least in an image, 0, to 1."""
        _, raw = self._sample(source, seeds)
        c = confidence(raw, self.config.loss)
        low, high = c.amin((2, 3), keepdim=True), c.amax((2, 3), keepdim=True)
        c = (c - low) / (high - low).clamp_min(torch.finfo(c.dtype).tiny)
        return F.interpolate(c, source.shape[2:], mode="bicubic").clamp(0.0, 1.0)

    def show(self, name: str, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
        """The confidence map, from -1 to 1."""
        return 2.0 * self.confidence_maps(source, seeds) - 1.0

    def reconstruct(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_target H W"]:
        """Targets after the VAE alone: the upper bound of any translation (Table 4)."""
        return self._decoded(self.encoder(_rgb(target))[0])

    def _evaluate(self, z_t: Tensor, z_x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """`output` (B, latent, h, w) and raw confidence (B, 1, h, w); the SAR code comes first, as in the code (Eq. 2)."""
        if self.config.output == "velocity":
            # The best linear guess of z_y: where hardly anything of it is left, no noise stands in the way of z_x.
            z_t = self.abar[t].sqrt()[:, None, None, None] * z_t
        out = self.unet(torch.cat([z_x, z_t], dim=1), t)
        return out[:, :-1], out[:, -1:]

    def _predict(self, z_t: Tensor, z_x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, latent, h, w) and raw confidence (B, 1, h, w)."""
        said, raw = self._evaluate(z_t, z_x, t)
        return said if self.config.output == "noise" else ddpm.noise_of_velocity(z_t, said, self.abar[t]), raw

    def _sample(self, source: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """The code of the translation, and the raw confidence in the middle of the walk."""
        z_x = self.encoder(_rgb(source))[0]
        steps = ddim.leading_steps(self.config.T, self.config.steps)
        middle = steps[int(MIDDLE * len(steps))]
        found: dict[int, Tensor] = {}

        def predict(z_t: Tensor, t: int) -> Tensor:
            eps_hat, raw = self._predict(z_t, z_x, torch.full((len(z_t),), t, device=z_t.device))
            if t == middle:
                found[t] = raw
            return eps_hat

        abar = self.abar.tolist()
        z_T = normal(seeds, z_x.shape[1:], "z_T").to(z_x.device)
        return ddim.sample(predict, z_T, abar, steps, abar_end=abar[0]), found[middle]

    def _decoded(self, z: Tensor) -> Tensor:
        # In float32: beside 1, bfloat16 has steps as wide as an 8-bit image.
        with torch.autocast(z.device.type, enabled=False):
            return self.decoder(z.float()).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class Restarted(Schedule):
    """A schedule that begins anew at each of `bounds`, shares of the budget from 0 to 1."""

    bounds: tuple[float, ...] = (0.0, 1.0)

    def __call__(self, progress: float) -> float:
        """The factor at a progress in [0, 1]."""
        start, stop = next((span for span in pairwise(self.bounds) if progress < span[1]), self.bounds[-2:])
        return super().__call__((progress - start) / (stop - start))


def _rgb(image: Tensor) -> Tensor:
    """One polarisation three times (Sec. 3.2); three channels as they are."""
    return image.expand(-1, CHANNELS, -1, -1)
