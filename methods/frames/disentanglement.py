"""How DRIT++ trains: contents and attributes of two domains are taken apart, swapped, and swapped back.

DRIT++ and DivCo are this method with one term each that keeps apart what different attributes give.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sarbench.bench.interface import Batch, Method, Player, Schedule, Turn, adam, normal, setting
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.reconstruction import l1
from sarbench.methods.losses.variational import kl_to_standard_normal
from sarbench.methods.networks import initialization
from sarbench.methods.networks.disentangled import (
    AttributeEncoder,
    AttributeGenerator,
    ContentDiscriminator,
    ContentEncoder,
    Domain,
    frozen,
)
from sarbench.methods.networks.multiscale_discriminator import StridedMultiscaleDiscriminator

OTHER: dict[Domain, Domain] = {"x": "y", "y": "x"}


@dataclass(frozen=True)
class HostConfig:
    """Hyperparameters of DRIT++ but for its mode-seeking term; the defaults are the paper's for 216x216 px."""

    width: int = setting(64, "official code")
    blocks: int = setting(3, "official code: residual blocks of a domain in content encoder and generator, beside a shared one")
    attributes: int = setting(8, "Sec. 3.4: the length of an attribute vector")
    attribute_layers: int = setting(4, "official code: 64, 128, 192, 256 channels")
    discriminator_width: int = setting(64, "official code: 64, 128, 256, 512")
    discriminator_layers: int = setting(4, "official code: 64, 128, 256, 512")
    discriminator_scales: int = setting(3, "official code: three scales")
    content_layers: int = setting(3, "official code: strided layers of the content discriminator")
    content_updates: int = setting(3, "official code: steps of the content discriminator for each step of the others")
    content_noise: float = setting(1.0, "official code: spread of the noise on contents in training")
    lambda_content: float = setting(1.0, "Sec. 3.4")
    lambda_gan: float = setting(1.0, "Sec. 3.4")
    lambda_cc: float = setting(10.0, "Sec. 3.4, Eq. 4")
    lambda_recon: float = setting(10.0, "Sec. 3.4")
    lambda_kl: float = setting(0.01, "Sec. 3.4: attributes")
    lambda_l2: float = setting(0.01, "official code: contents")
    lambda_latent: float = setting(10.0, "Sec. 3.4")
    learning_rate: float = setting(1e-4, "Sec. 3.4")
    content_learning_rate: float = setting(4e-5, "official code: 1/2.5 of the others'")
    content_clip_norm: float = setting(5.0, "official code")
    beta1: float = setting(0.5, "Sec. 3.4")
    beta2: float = setting(0.999, "Sec. 3.4")
    weight_decay: float = setting(1e-4, "official code")
    decay_from: float = setting(0.5, "official code: 600 epochs constant, 600 with linear decay to 0")
    batch_size: int = setting(1, "official code: one image a domain is encoded, another is only judged")


class Disentanglement(Method):
    """E^c, E^a and G of both domains, discriminators of encoded and of random attributes, and one of contents.

    A step has three kinds of turns: the content discriminator; the image discriminators; encoders and generator, first
    with encoded attributes, then with random ones, where E^a stays as it is. Every row is translated both ways, and every
    row is also a real image of the random branch.
    """

    judged: ClassVar[tuple[int, int]]  # which of `random_attributes` the discriminators see: two that are independent
    config: HostConfig

    def __init__(self, config: HostConfig, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        channels: dict[Domain, int] = {"x": source_channels, "y": target_channels}

        def discriminators() -> torch.nn.ModuleDict:
            settings = {"scales": c.discriminator_scales, "width": c.discriminator_width, "layers": c.discriminator_layers}
            return torch.nn.ModuleDict(
                {
                    d: initialization.normal(StridedMultiscaleDiscriminator(n, slope=0.01, **settings))
                    for d, n in channels.items()
                }
            )

        self.E_c = initialization.normal(ContentEncoder(channels, width=c.width, blocks=c.blocks))
        self.E_a = initialization.normal(
            AttributeEncoder(channels, size=c.attributes, width=c.width, layers=c.attribute_layers)
        )
        self.G = initialization.normal(AttributeGenerator(channels, size=c.attributes, width=c.width, blocks=c.blocks))
        self.D = discriminators()  # of translations with encoded attributes
        self.D_random = discriminators()  # of translations with random ones
        self.D_c = initialization.normal(ContentDiscriminator(4 * c.width, layers=c.content_layers))

    @abstractmethod
    def random_attributes(self, seeds: Int64[Tensor, " B"]) -> Float[Tensor, "n B size"]:
        """The attribute vectors of the random branch, n for each row."""

    @abstractmethod
    def diversity(
        self, attributes: Float[Tensor, "n B size"], images: Float[Tensor, "n B C H W"], encoded: Float[Tensor, "n B size"]
    ) -> dict[str, Tensor]:
        """The losses that tie a domain's images to their random attributes; `encoded` is what E^a finds in the images."""

    def players(self) -> dict[str, Player]:
        """The content discriminator, all image discriminators, and encoders with the generator, with an Adam each."""
        c = self.config
        schedule, betas = Schedule("linear", hold=c.decay_from), (c.beta1, c.beta2)
        optimizer = adam(c.learning_rate, betas, weight_decay=c.weight_decay, schedule=schedule)
        of_contents = adam(
            c.content_learning_rate, betas, weight_decay=c.weight_decay, schedule=schedule, clip_norm=c.content_clip_norm
        )
        return {
            "D_c": Player(self.D_c, of_contents),
            "D": Player([self.D, self.D_random], optimizer),
            "G": Player([self.E_c, self.E_a, self.G], optimizer),
        }

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """The content discriminator's steps, one of the image discriminators, and two of encoders and generator."""
        c, seeds = self.config, batch.unpaired.seeds
        real: dict[Domain, Tensor] = {"x": batch.unpaired.source, "y": batch.unpaired.target}

        z_c = self._contents(real, seeds, 0)
        mean, log_var, z_a = self._attributes(real, seeds, "first")
        for _ in range(c.content_updates):
            of_y, of_x = self.D_c(z_c["y"].detach()), self.D_c(z_c["x"].detach())
            yield "D_c", {"content": adversarial.discriminator(of_y, of_x, "bce")}  # Eq. 1

        # One pass for two batches: every normalisation looks at each row alone.
        fake, rec = {}, {}  # fake["y"] is x translated: Eq. 2
        for d, other in OTHER.items():
            pass_of_two = self.G(torch.cat([z_c[other], z_c[d]]), torch.cat([z_a[d], z_a[d]]), d)
            fake[d], rec[d] = pass_of_two.chunk(2)
        drawn = self.random_attributes(seeds)
        judged = drawn[list(self.judged)]
        with torch.no_grad():
            random = {d: self._decoded(z_c[other], judged, d) for d, other in OTHER.items()}
        yield (
            "D",
            {
                **{
                    f"gan_{d}": adversarial.discriminator(self.D[d](real[d]), self.D[d](fake[d].detach()), "bce") for d in OTHER
                },
                **{
                    f"random_gan_{d}": adversarial.discriminator(
                        self.D_random[d](real[d]), self.D_random[d](random[d].flatten(0, 1)), "bce"
                    )
                    for d in OTHER
                },
            },
        )
        again_c = self._contents(fake, seeds, 2)  # again_c["y"] is the content of x, found in its translation
        _, _, again_a = self._attributes(fake, seeds, "again")
        losses: dict[str, Tensor] = {}
        for d, other in OTHER.items():
            undecided = self.D_c(z_c[d])
            cycle = self.G(again_c[other], again_a[d], d)  # Eq. 3
            losses |= {
                f"content_{d}": c.lambda_content * 0.5 * adversarial.discriminator(undecided, undecided, "bce"),  # Eq. 1
                f"gan_{d}": c.lambda_gan * adversarial.generator(self.D[d](fake[d]), "bce"),
                f"cycle_{d}": c.lambda_cc * l1(cycle, real[d]),  # Eq. 4
                f"rec_{d}": c.lambda_recon * l1(rec[d], real[d]),
                f"kl_{d}": c.lambda_kl * c.attributes * kl_to_standard_normal(mean[d], log_var[d]),  # summed over attributes
                f"l2_{d}": c.lambda_l2 * z_c[d].float().square().mean(),
            }
        yield "G", losses

        z_c = self._contents(real, seeds, 4)  # anew, since E^c and G have moved
        losses = {}
        for d, other in OTHER.items():
            images = self._decoded(z_c[other], drawn, d)  # (n, B, C, H, W)
            encoded = frozen(self.E_a, images.flatten(0, 1), d)[0].unflatten(0, images.shape[:2])
            seen = images[list(self.judged)].flatten(0, 1)
            losses[f"random_gan_{d}"] = c.lambda_gan * adversarial.generator(self.D_random[d](seen), "bce")
            if c.lambda_latent:
                losses[f"latent_{d}"] = c.lambda_latent * l1(encoded[0], drawn[0])
            losses |= {f"{name}_{d}": loss for name, loss in self.diversity(drawn, images, encoded).items()}
        yield "G", losses

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """The source's content with attributes drawn from the prior."""
        return self.G(self.E_c(source, "x"), normal(seeds, (self.config.attributes,), "attributes y"), "y")

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """The target's content with attributes drawn from the prior."""
        return self.G(self.E_c(target, "y"), normal(seeds, (self.config.attributes,), "attributes x"), "x")

    def _contents(self, images: dict[Domain, Tensor], seeds: Tensor, use: int) -> dict[Domain, Tensor]:
        """Contents with noise. One draw serves every use in a step, moved along the channels, since drawing is slow."""
        clean = {d: self.E_c(images[d], d) for d in OTHER}
        noise = self.config.content_noise * normal(seeds, clean["x"].shape[1:], "content noise")
        return {d: clean[d] + noise.roll(use + i, dims=1) for i, d in enumerate(OTHER)}

    def _attributes(
        self, images: dict[Domain, Tensor], seeds: Tensor, purpose: str
    ) -> tuple[dict[Domain, Tensor], dict[Domain, Tensor], dict[Domain, Tensor]]:
        """Mean, log-variance, and a draw of the attributes of images."""
        found = {d: self.E_a(images[d], d) for d in OTHER}
        mean, log_var = ({d: pair[i] for d, pair in found.items()} for i in (0, 1))
        eps = {d: normal(seeds, (self.config.attributes,), f"{purpose} {d}") for d in OTHER}
        return mean, log_var, {d: mean[d] + (0.5 * log_var[d]).exp() * eps[d] for d in OTHER}

    def _decoded(self, content: Tensor, attributes: Tensor, domain: Domain) -> Float[Tensor, "n B C H W"]:
        """Images of each row's content with each of its attribute vectors, in one pass."""
        n = len(attributes)
        return self.G(content.repeat(n, 1, 1, 1), attributes.flatten(0, 1), domain).unflatten(0, (n, -1))
