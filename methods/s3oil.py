"""S3OIL: Semi-Supervised SAR-to-Optical Image Translation via Multi-Scale and Cross-Set Matching.

Yang, Shi, Li, Qiao, Gao and Wang, IEEE TIP 2025, https://doi.org/10.1109/TIP.2025.3616576
Differs from the paper: in what `card.deviations` lists. The paper gives no table of layers, no prompts and no threshold,
and its code has only the base model (Semi-I2I), so this is a reconstruction.

G: source x -> target y; F: y -> x. (x_p, y_p) paired, x_u unpaired. Every module and setting of tables 2, 3 and 5 is a
field of Config; figure 9's counts of samples are protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from sarbench.bench.interface import (
    Batch,
    Card,
    ContractError,
    Method,
    Pairs,
    Player,
    Schedule,
    Supervision,
    Turn,
    adam,
    setting,
)
from sarbench.methods.losses import adversarial, semantic_consistency, weak_strong_matching
from sarbench.methods.losses.cross_set_alignment import CrossSetAlignment
from sarbench.methods.losses.reconstruction import huber, l1
from sarbench.methods.losses.superpixels import superpixels
from sarbench.methods.networks import initialization, residual_encoder
from sarbench.methods.networks.clip_scorer import ClipScorer
from sarbench.methods.networks.edge_scorer import EdgeScorer
from sarbench.methods.networks.image_pool import ImagePool
from sarbench.methods.networks.multiscale_discriminator import MultiscaleDiscriminator
from sarbench.methods.networks.patch_discriminator import PatchDiscriminator
from sarbench.methods.networks.residual_encoder import ResidualEncoder
from sarbench.methods.networks.resnet_generator import ResNetGenerator
from sarbench.methods.networks.unbalanced_generator import UnbalancedGenerator

SEGMENTS = 16  # K of Eq. 11


@dataclass(frozen=True)
class Config:
    """Hyperparameters of S3OIL; the defaults are the paper's, or a resolution of what it leaves open (card 1)."""

    # Modules: the columns of table 2, and the rows of table 3
    cam: bool = setting(True, "Sec. III-B; table 2")
    msm: Literal["multi", "single", "off"] = setting("multi", "Sec. III-C; tables 2 and 3, MSM against SSM")
    isc: bool = setting(True, "Sec. III-D; table 2")
    csc: Literal["both", "local", "global", "off"] = setting("both", "Sec. III-E; table 2")
    supervised: bool = setting(False, "table 1, the variant marked with a dagger: all pairs and no unpaired terms")
    generator: Literal["unbalanced", "resnet"] = setting("unbalanced", "Sec. IV-A2; resnet: the base model's 9 blocks")

    lambda_cam: float = setting(50.0, "Eq. 14; table 5: 10 to 80")
    lambda_msm: float = setting(50.0, "Eq. 14; table 5: 10 to 80")
    lambda_isc: float = setting(10.0, "Eq. 14; table 5: 5 to 20")
    lambda_csc: float = setting(10.0, "Eq. 14; table 5: 5 to 20")
    lambda_gan: float = setting(50.0, "Eq. 14; table 5: 10 to 100")
    lambda_cycle: float = setting(10.0, "Fig. 2 and Sec. III-A name the cycle; weight of Semi-I2I's code")
    lambda_l1: float = setting(50.0, "Semi-I2I's code: the base model's paired L1, in force only where isc is off")

    cam_features: Literal["imagenet", "random"] = setting("imagenet", "Sec. III-B: ResNet-50; random: never trained")
    cam_anchor: Literal["generated", "target"] = setting("generated", "abstract, Sec. I: paired results; Sec. III-B is unclear")
    cam_detach_paired: bool = setting(True, "card 1.3 [R]: the paired set is the anchor, else both sets may collapse")
    cam_width: int = setting(64, "Sec. III-B: ResNet-50")
    cam_blocks: tuple[int, ...] = setting((3, 4, 6, 3), "Sec. III-B: ResNet-50")
    cam_key_width: int = setting(256, "card 1.3 [R]: channels of queries and keys")
    msm_scales: tuple[int, ...] = setting((16, 32, 64), "Sec. III-C")
    msm_single: int = setting(32, "card 1.3 [R]: the one scale of SSM, table 3")
    msm_detach_weak: bool = setting(True, "card 1.3 [R]: the weak view is the reference, as in FixMatch")
    isc_delta: float = setting(1.0, "Eq. 10 leaves it open; smooth L1 of the base model's code")
    isc_inverse: bool = setting(True, "the base model's code: F(y_p) against x_p too")
    csc_scorer: Literal["clip", "edges"] = setting("clip", "Sec. III-E: CLIP; edges: no network, see networks/edge_scorer.py")
    csc_segments: Literal["superpixels", "labels"] = setting("superpixels", "card 1.3 [R]; labels: masks that the data has")
    csc_distance: Literal["mse", "l2", "l1", "cos"] = setting("mse", "Eq. 12 leaves the norm open; code of Chan et al. (2022)")
    csc_unpaired: bool = setting(True, "Fig. 2 and Sec. III-A: both sets; one line of Sec. III-E says paired data")

    encoder: Literal["imagenet", "scratch"] = setting("imagenet", "Sec. IV-A2: pretrained ResNet-50 layers")
    width: int = setting(64, "ResNet-50")
    blocks: tuple[int, ...] = setting((3, 4, 6, 3), "ResNet-50; all four levels, for the 30.6 M parameters of table 6")
    middle: int = setting(512, "[R], for the 30.6 M parameters of table 6")
    dense_blocks: int = setting(2, "card 1.2 [R]")
    dense_layers: int = setting(6, "card 1.2 [R]")
    growth: int = setting(32, "[R], DenseNet's")
    decoder: tuple[int, ...] = setting((128, 128, 80, 64, 64), "[R], for the 30.6 M parameters of table 6")
    head: int = setting(7, "card 1.2 [R]: side of the last convolution")
    discriminator_width: int = setting(64, "Sec. IV-A2: PatchGAN")
    discriminator_layers: int = setting(3, "Sec. IV-A2: PatchGAN of 70x70 px")
    discriminator_scales: int = setting(3, "Sec. IV-A2: multi-scale for unpaired data, of pix2pixHD")
    conditional: bool = setting(False, "the base model's code; True: the paired discriminators see x and y together")
    unpaired_real: Literal["unpaired", "paired"] = setting("unpaired", "the base model's code: real y drawn apart from x_u")
    pool_size: int = setting(50, "the base model's code: a history of 50 translations")

    learning_rate: float = setting(2e-4, "Sec. IV-A2")
    beta1: float = setting(0.5, "the base model's code")
    beta2: float = setting(0.999, "the base model's code")
    decay_from: float = setting(0.5, "the base model's code: 100 epochs constant, 100 with linear decay to 0")
    clip_norm: float = setting(5.0, "Sec. IV-A2")
    batch_size: int = setting(4, "Sec. IV-A2; as many pairs as unpaired sources")


PAPER = Config()
NO_WEIGHTS = replace(PAPER, encoder="scratch", cam_features="random", csc_scorer="edges")


class S3OIL(Method):
    """A generator held by pairs where there are some, and by matching within and across sets where there are none."""

    card = Card(
        title="S3OIL",
        paper="https://doi.org/10.1109/TIP.2025.3616576",
        year=2025,
        supervision="semi",
        channels="any",
        size_multiple=64,
        pretrained=("resnet50", "clip_vit_b32"),
        fidelity="reconstruction",
        deviations=(
            "Layers of the generator are our own, to the paper's description and parameter count.",
            "The presets bench and tiny need no pretrained weights: the encoder starts from scratch with instance "
            "normalisation, CAM compares features of a network that was never trained, CSC compares edges in place of CLIP.",
            "Segments of CSC are superpixels or the data's label masks, not a fine-tuned SAM's; the classes are eight prompts.",
            "MSM compares random windows of the outputs for whole views: 16 px is less than the encoder's stride.",
            "The strong view takes AutoAugment's operations that move no pixel and need no colour.",
            "Queries and keys of CAM have 256 channels; the paired set's features are a fixed anchor.",
            "Where isc is off, the base model's L1 to the paired target stays, as table 3's baseline has it.",
            "Above batch 1, each row of the batch has an image pool of its own.",
            "No validation loss is watched.",
        ),
        licence="none given",
    )
    presets = {
        "paper": PAPER,
        "bench": NO_WEIGHTS,
        "tiny": replace(
            NO_WEIGHTS,
            width=8,
            blocks=(1, 1, 1),
            middle=64,
            dense_blocks=1,
            dense_layers=2,
            growth=8,
            decoder=(32, 16, 8, 4),  # its end, at full size, is where a CPU spends its time
            head=3,
            cam_width=4,
            cam_blocks=(1, 1, 1, 1),
            cam_key_width=16,
            discriminator_width=6,
            discriminator_layers=2,
            discriminator_scales=2,
            lambda_gan=10.0,  # the least of table 5: small discriminators win early, and pixels are few
            pool_size=10,
            learning_rate=5e-4,  # a few thousand updates in all
        ),
    }
    ablations = {
        "2": {
            "": {},
            "CAM": {"msm": "off", "isc": "false", "csc": "off"},
            "MSM": {"cam": "false", "isc": "false", "csc": "off"},
            "ISC": {"cam": "false", "msm": "off", "csc": "off"},
            "CSC": {"cam": "false", "msm": "off", "isc": "false"},
            "CAM + MSM": {"isc": "false", "csc": "off"},
            "CAM + ISC": {"msm": "off", "csc": "off"},
            "CAM + CSC": {"msm": "off", "isc": "false"},
            "MSM + ISC": {"cam": "false", "csc": "off"},
            "MSM + CSC": {"cam": "false", "isc": "false"},
            "ISC + CSC": {"cam": "false", "msm": "off"},
        },
        "3": {
            "no module": {"cam": "false", "msm": "off", "isc": "false", "csc": "off"},
            "SSM": {"cam": "false", "isc": "false", "csc": "off", "msm": "single"},
            "MSM": {"cam": "false", "isc": "false", "csc": "off"},
        },
        "5": {
            "lambda_cam=10": {"lambda_cam": "10"},
            "lambda_cam=80": {"lambda_cam": "80"},
            "lambda_msm=10": {"lambda_msm": "10"},
            "lambda_msm=80": {"lambda_msm": "80"},
            "lambda_gan=10": {"lambda_gan": "10"},
            "lambda_gan=100": {"lambda_gan": "100"},
            "lambda_csc=5": {"lambda_csc": "5"},
            "lambda_csc=20": {"lambda_csc": "20"},
            "lambda_isc=5": {"lambda_isc": "5"},
            "lambda_isc=20": {"lambda_isc": "20"},
        },
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.G = self._generator(source_channels, target_channels)
        self.F = self._generator(target_channels, source_channels)
        both = source_channels + target_channels
        channels = {"x": both if c.conditional else source_channels, "y": both if c.conditional else target_channels}
        patches = {"width": c.discriminator_width, "layers": c.discriminator_layers}
        self.D_p = nn.ModuleDict({d: initialization.normal(PatchDiscriminator(channels[d], **patches)) for d in "xy"})
        self.pools_p = nn.ModuleDict({d: ImagePool(c.pool_size, f"paired {d}") for d in "xy"})
        if not c.supervised:
            self.D_u = nn.ModuleDict(
                {
                    d: initialization.normal(MultiscaleDiscriminator(n, scales=c.discriminator_scales, **patches))
                    for d, n in (("x", source_channels), ("y", target_channels))
                }
            )
            self.pools_u = nn.ModuleDict({d: ImagePool(c.pool_size, f"unpaired {d}") for d in "xy"})
        if self._cam:
            norm = residual_encoder.FrozenNorm if c.cam_features == "imagenet" else residual_encoder.whole_image
            self.E = ResidualEncoder(target_channels, width=c.cam_width, blocks=c.cam_blocks, norm=norm).requires_grad_(False)
            self.align = CrossSetAlignment(self.E.widths[-3:], c.cam_key_width)
        if c.csc != "off":
            self.scorer = ClipScorer() if c.csc_scorer == "clip" else EdgeScorer()

    def _generator(self, c_in: int, c_out: int) -> UnbalancedGenerator | ResNetGenerator:
        c = self.config
        if c.generator == "resnet":
            return initialization.normal(ResNetGenerator(c_in, c_out, width=c.width, blocks=9))
        norm = residual_encoder.FrozenNorm if c.encoder == "imagenet" else residual_encoder.instance
        return UnbalancedGenerator(
            c_in,
            c_out,
            width=c.width,
            blocks=c.blocks,
            middle=c.middle,
            dense_blocks=c.dense_blocks,
            dense_layers=c.dense_layers,
            growth=c.growth,
            decoder=c.decoder,
            head=c.head,
            encoder_norm=norm,
        )

    @property
    def _cam(self) -> bool:
        return self.config.cam and not self.config.supervised

    @property
    def size_multiple(self) -> int:
        """A halving for each level of the encoder, and once more."""
        return 4 if isinstance(self.G, ResNetGenerator) else self.G.size_multiple

    @property
    def supervision(self) -> Supervision:
        """Pairs alone for the supervised variant."""
        return "paired" if self.config.supervised else "semi"

    @property
    def aux(self) -> tuple[str, ...]:
        """Label masks, where they are the segments."""
        return ("labels",) if self.config.csc_segments == "labels" and self.config.csc in ("both", "local") else ()

    @property
    def pretrained(self) -> tuple[str, ...]:
        """ResNet-50 for the encoder and CAM, CLIP for CSC: those that this config asks for."""
        c = self.config
        resnet = (c.generator == "unbalanced" and c.encoder == "imagenet") or (self._cam and c.cam_features == "imagenet")
        clip = c.csc != "off" and c.csc_scorer == "clip"
        return ("resnet50",) * resnet + ("clip_vit_b32",) * clip

    def load_pretrained(self, find: Callable[[str], Path]) -> None:
        """ResNet-50 into both encoders and CAM's network, CLIP into the scorer."""
        weights = {name: torch.load(find(name), map_location="cpu", weights_only=True) for name in self.pretrained}
        if "resnet50" in weights:
            networks = [*(g.encoder for g in (self.G, self.F) if self.config.encoder == "imagenet" and hasattr(g, "encoder"))]
            if self._cam and self.config.cam_features == "imagenet":
                networks.append(self.E)
            for network in networks:
                network.load_photo_weights(weights["resnet50"])
        if "clip_vit_b32" in weights:
            self.scorer.load_weights(weights["clip_vit_b32"])  # type: ignore[operator]

    def players(self) -> dict[str, Player]:
        """Both generators and CAM's projections with one Adam, then all discriminators with one Adam."""
        c = self.config
        optimizer = adam(
            c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from), clip_norm=c.clip_norm
        )
        matching = [self.align] if self._cam else []
        judges = [self.D_p] if c.supervised else [self.D_p, self.D_u]
        return {"G": Player([self.G, self.F, *matching], optimizer), "D": Player(judges, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of G, F and CAM's projections under Eq. 14, then one of the discriminators."""
        c = self.config
        p = batch.paired
        u = p if c.supervised else batch.unpaired  # whose cycles are closed
        views = [] if c.msm == "off" or c.supervised else self._views(u)

        # One pass for all, since instance normalisation looks at each row alone.
        sources = [p.source] if c.supervised else [p.source, u.source, *views[1:]]
        targets = [p.target] if c.supervised else [p.target, u.target]
        fake_y = self.G(torch.cat(sources)).split(len(p))
        fake_x = self.F(torch.cat(targets)).split(len(p))
        losses = self._paired_losses(p, fake_y[0], fake_x[0])
        losses |= {
            "cycle_x": c.lambda_cycle * l1(self.F(fake_y[len(targets) - 1]), u.source),
            "cycle_y": c.lambda_cycle * l1(self.G(fake_x[len(targets) - 1]), u.target),
        }
        if not c.supervised:
            fool = [adversarial.generator(self.D_u[d](fake[1]), "least_squares") for d, fake in (("y", fake_y), ("x", fake_x))]
            losses["gan_unpaired"] = c.lambda_gan * (fool[0] + fool[1])
        if self._cam:
            losses["cam"] = c.lambda_cam * self._cam_loss(fake_y[1], p.target if c.cam_anchor == "target" else fake_y[0])
        if views:
            with torch.set_grad_enabled(not c.msm_detach_weak):
                weak = self.G(views[0])
            scales = c.msm_scales if c.msm == "multi" else (c.msm_single,)
            losses["msm"] = c.lambda_msm * weak_strong_matching.window_l1(weak, fake_y[2], u.seeds, scales)  # Eq. 9
        if c.csc != "off":
            sets = [(p, fake_y[0])] if c.supervised or not c.csc_unpaired else [(p, fake_y[0]), (u, fake_y[1])]
            losses |= self._csc_losses(sets, p)
        yield "G", losses

        yield "D", self._discriminator_losses(p, u, [y.detach() for y in fake_y], [x.detach() for x in fake_x])

    def _views(self, u: Pairs) -> list[Tensor]:
        weak = weak_strong_matching.weak_view(u.source, u.seeds)
        return [weak, weak_strong_matching.strong_view(weak, u.seeds)]

    def _paired_losses(self, p: Pairs, fake_y: Tensor, fake_x: Tensor) -> dict[str, Tensor]:
        c = self.config
        judged = {"y": self._seen(p.source, fake_y), "x": self._seen(p.target, fake_x)}
        fool = [adversarial.generator(self.D_p[d](judged[d]), "least_squares") for d in "yx"]
        losses = {"gan_paired": c.lambda_gan * (fool[0] + fool[1])}
        if not c.isc:
            return losses | ({"l1": c.lambda_l1 * (l1(fake_y, p.target) + l1(fake_x, p.source))} if c.lambda_l1 else {})
        losses["isc"] = c.lambda_isc * huber(fake_y, p.target, c.isc_delta)  # Eq. 10
        if c.isc_inverse:
            losses["isc_inverse"] = c.lambda_isc * huber(fake_x, p.source, c.isc_delta)
        return losses

    def _seen(self, given: Tensor, image: Tensor) -> Tensor:
        """What a paired discriminator sees."""
        return torch.cat([given, image], dim=1) if self.config.conditional else image

    def _cam_loss(self, unpaired: Tensor, paired: Tensor) -> Tensor:
        """Eqs. 1 to 8, on the last three levels of E."""
        u, p = ([level.float() for level in self.E(image)[-3:]] for image in (unpaired, paired))
        if self.config.cam_detach_paired:
            p = [level.detach() for level in p]
        return torch.stack([l1(level, aligned) for level, aligned in zip(u, self.align(u, p), strict=True)]).sum()  # Eq. 8

    def _csc_losses(self, sets: list[tuple[Pairs, Tensor]], p: Pairs) -> dict[str, Tensor]:
        """Eqs. 11 to 13; local and global are equal parts of one weight."""
        c, losses = self.config, {}
        x, fake = torch.cat([pairs.source for pairs, _ in sets]), torch.cat([y for _, y in sets])
        if c.csc in ("both", "local"):
            # Paired segments are cut from the optical image, which has no speckle; unpaired ones only have x.
            masks = torch.cat([self._segments(pairs, pairs.target if pairs is p else pairs.source) for pairs, _ in sets])
            scores = self.scorer.classify(x, masks), self.scorer.classify(fake, masks)  # type: ignore[operator]
            present = semantic_consistency.present_segments(masks)
            losses["csc_local"] = c.lambda_csc * semantic_consistency.local_cross_entropy(*scores, present)  # Eq. 11
        if c.csc in ("both", "global"):
            ends = self.scorer.embed(x), self.scorer.embed(fake)  # type: ignore[operator]
            losses["csc_global"] = c.lambda_csc * semantic_consistency.global_distance(*ends, c.csc_distance)  # Eq. 12
        return losses

    def _segments(self, pairs: Pairs, image: Tensor) -> Float[Tensor, "B K H W"]:
        if self.config.csc_segments == "superpixels":
            return superpixels(image, pieces=4)
        labels = pairs.aux["labels"][:, 0]  # (B, H, W); 255 is unlabelled
        if bool(((labels >= SEGMENTS) & (labels != 255)).any()):
            raise ContractError(f"S3OIL takes labels below {SEGMENTS} as segments, or 255; choose csc_segments='superpixels'")
        one_hot = functional.one_hot(labels.clamp_max(SEGMENTS), SEGMENTS + 1)[..., :SEGMENTS]
        return one_hot.movedim(3, 1).to(image.dtype)

    def _discriminator_losses(self, p: Pairs, u: Pairs, fake_y: list[Tensor], fake_x: list[Tensor]) -> dict[str, Tensor]:
        """Real images against translations of the present and the past, halved."""
        losses = {}
        for d, given, real, fake in (("y", p.source, p.target, fake_y[0]), ("x", p.target, p.source, fake_x[0])):
            past = self.pools_p[d](self._seen(given, fake), p.seeds)
            D = self.D_p[d]
            losses[f"paired_{d}"] = 0.5 * adversarial.discriminator(D(self._seen(given, real)), D(past), "least_squares")
        if self.config.supervised:
            return losses
        real = p if self.config.unpaired_real == "paired" else u
        for d, image, fake in (("y", real.target, fake_y[1]), ("x", u.source, fake_x[1])):
            D, past = self.D_u[d], self.pools_u[d](fake, u.seeds)
            losses[f"unpaired_{d}"] = 0.5 * adversarial.discriminator(D(image), D(past), "least_squares")
        return losses

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """G(x)."""
        return self.G(source)

    def translate_back(
        self, target: Float[Tensor, "B C_target H W"], seeds: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B C_source H W"]:
        """F(y)."""
        return self.F(target)
