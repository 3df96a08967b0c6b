"""SemST: Semantically Consistent Multi-Scale Image Translation via Structure-Texture Alignment.

Zhao, Cui, You and Kuo, WACV 2024, https://arxiv.org/abs/2310.04995
Differs from the paper: it gives no weights but lambda_TS, no beta, no scale map network and no crop sizes, and there is no
code, so these are ours; one discriminator judges the fused, the global and the local translation, and the scale map learns
from the first; the expectation of Eq. 8 is normalised, where Eq. 9 drops a constant; mutual information takes the 256
numbers of an embedding, scaled to [-1, 1], as its samples, under Gaussian kernels with the sign that the released code lacks.

Two branches translate: the local one a crop at its own scale, the global one a wider crop `reduction` times smaller. The
wider crop is the harness's training crop, so give it 512 px for 256 px windows; smaller crops make smaller windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from sarbench.bench.interface import Batch, Card, ContractError, Method, Player, Schedule, Turn, adam, setting, uniform
from sarbench.methods.losses import adversarial
from sarbench.methods.losses.mutual_information import rsmi
from sarbench.methods.losses.patch_nce import hdce, patch_nce
from sarbench.methods.networks import initialization
from sarbench.methods.networks.antialiased_resnet import AntialiasedPatchDiscriminator, AntialiasedResNetGenerator, Translation
from sarbench.methods.networks.patch_features import PatchProjector, draw_positions
from sarbench.methods.networks.scale_attention import ScaleAttention
from sarbench.methods.networks.sliding_windows import allowed, slide, starts

TS_LAYERS = {"all": slice(None), "shallow": slice(0, 3), "deep": slice(3, None)}  # of CUT's five: texture, structure


@dataclass(frozen=True)
class Config:
    """Hyperparameters of SemST; the defaults are the paper's for images of 512 px and more."""

    multiscale: bool = setting(True, "Sec. 3.3; table 3 and Sec. 4.2.4 have one scale")
    window_px: int = setting(256, "Sec. 4.1: side of local crops and of reduced global crops")
    reduction: int = setting(2, "card [R]: a global crop's side over a local one's; Eq. 4 leaves it open")
    shared_generator: bool = setting(False, "Sec. 3.3: different generators; true: one for both scales")
    fusion: Literal["learned", "half", "local", "global"] = setting("learned", "Eq. 6; else M_s is 1/2, 1 or 0")
    attention_width: int = setting(64, "card [R]: HRDA's head, smaller")
    width: int = setting(64, "Sec. 4.1: CUT's code")
    blocks: int = setting(9, "Sec. 4.1: CUT's code")
    discriminator_width: int = setting(64, "Sec. 4.1: CUT's code")
    discriminator_layers: int = setting(3, "Sec. 4.1: CUT's code")
    projector_width: int = setting(256, "Sec. 4.1: CUT's code")
    patches: int = setting(256, "Sec. 4.1: CUT's code; one positive and N = 255 negatives")
    contrast: Literal["hdce", "patch_nce", "none"] = setting("hdce", "Sec. 3.4; table 3 has none; patch_nce is CUT's")
    hdce_form: Literal["normalised", "printed", "source_code"] = setting(
        "normalised", "card [R]: Eq. 8; Eq. 9; the code of SRC"
    )
    beta: float = setting(1.0, "card [R]: concentration of Eq. 7, not given; normalised and printed forms")
    gamma_start: float = setting(50.0, "code of SRC: 1 / beta of its form at the start, linear to gamma_end")
    gamma_end: float = setting(10.0, "code of SRC")
    tau: float = setting(0.07, "card [R]: CUT, Sec. 3; not given")
    identity: bool = setting(True, "card [R]: CUT's loss on target images, which G should leave alone; averaged with the other")
    ts_on: Literal["embeddings", "pixels"] = setting("embeddings", "Eq. 1; pixels: as SCC, the paper's reference [11]")
    ts_layers: Literal["all", "shallow", "deep"] = setting("all", "Sec. 3.2: shallow layers are texture, deep ones structure")
    ts_detach_input: bool = setting(True, "card [R]: as CUT detaches the input's embeddings")
    kernel_sigma: float = setting(0.5, "card [R]; the code of SCC has 1")
    kernel_sign: int = setting(-1, "a Gaussian; the code of SCC has +1")
    lambda_gan: float = setting(1.0, "card [R]: not given")
    lambda_hdce: float = setting(1.0, "card [R]: not given")
    lambda_ts: float = setting(2.0, "table 3: the best of 0, 1 and 2")
    learning_rate: float = setting(2e-4, "Sec. 4.1: CUT's code")
    beta1: float = setting(0.5, "Sec. 4.1: CUT's code")
    beta2: float = setting(0.999, "Sec. 4.1: CUT's code")
    decay_from: float = setting(0.5, "Sec. 4.1: CUT's code, 200 epochs constant, 200 with linear decay to 0")
    batch_size: int = setting(1, "Sec. 4.1: CUT's code")


PAPER = Config()


class SemST(Method):
    """A local and a global generator, fused by a learned map, held to their input by contrast and mutual information."""

    card = Card(
        title="SemST",
        paper="https://arxiv.org/abs/2310.04995",
        year=2024,
        supervision="unpaired",
        channels="same",
        evaluations=10,
        fidelity="reconstruction",
        deviations=(
            "Weights of the adversarial and the hDCE loss, beta and crop sizes are not given; 1, 1, 1 and 512 px are ours.",
            "The scale map's network is ours: a head on the global bottleneck, trained by the fusion's adversarial loss.",
            "One discriminator judges the fused, the global and the local translation, against target crops of the same scale.",
            "hDCE normalises the expectation of Eq. 8; Eq. 9, which drops a constant, stands under hdce_form=printed.",
            "TS takes an embedding's numbers, scaled and clipped to [-1, 1], as samples, under Gaussian kernels of sigma 1/2.",
            "The local crop lies inside the global one, so that the two can be fused in training.",
            "Each row of a batch has positions of its own, and the shallowest layer is the image without its padding.",
            "Images are cropped at their own size; CUT's code, which the paper builds on, first resizes them to 286 px.",
            "hDCE is also taken of target images, which a generator should leave alone, and averaged with the other: CUT's.",
            "Each branch has a projector F of its own, shared by its input and its output.",
            "TS moves the embeddings of the output alone: those of the input are detached, as in CUT's loss.",
            "The temperature tau is not given; 0.07 is CUT's.",
            "Table 3's row without hDCE is run without any contrast, so without that of target images too.",
            "TS can't take whole embeddings as samples; gamma of hdce_form=source_code falls without the jump of SRC.",
            "The bench preset has one scale, as the paper has for images of 256 px.",
        ),
        licence="no code found",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, multiscale=False, batch_size=4),  # 256 px: Sec. 4.2.4
        "tiny": replace(
            PAPER,
            window_px=64,
            attention_width=8,
            width=8,
            blocks=3,
            discriminator_width=8,
            discriminator_layers=2,
            projector_width=32,
            patches=16,
            learning_rate=5e-4,  # a thousand updates in all
            batch_size=8,
        ),
    }
    maps = ("scale",)
    ablations = {
        "3": {
            "": {},
            "no multi-scale": {"multiscale": "false"},
            "no hDCE loss": {"contrast": "none"},
            "lambda_ts=0": {"lambda_ts": "0"},
            "lambda_ts=1": {"lambda_ts": "1"},
        },
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.branches = ("local", "global") if c.multiscale else ("local",)

        def generator() -> AntialiasedResNetGenerator:
            return AntialiasedResNetGenerator(source_channels, target_channels, width=c.width, blocks=c.blocks)

        owners = ("local",) if c.shared_generator else self.branches
        self.G = initialization.xavier(nn.ModuleDict({owner: generator() for owner in owners}))
        features = self.G["local"].feature_channels
        projectors = {branch: PatchProjector(features, width=c.projector_width) for branch in self.branches}
        self.F = initialization.xavier(nn.ModuleDict(projectors))
        D = AntialiasedPatchDiscriminator(target_channels, width=c.discriminator_width, layers=c.discriminator_layers)
        self.D = initialization.xavier(D)
        self.M: ScaleAttention | None = None
        if c.multiscale and c.fusion == "learned":
            self.M = initialization.xavier(ScaleAttention(4 * c.width, width=c.attention_width))

    @property
    def evaluations(self) -> int:
        """Passes of a generator for an image as large as a full training crop."""
        if not self.config.multiscale:
            return 1
        side = self.config.window_px
        return len(starts(self.config.reduction * side, side)) ** 2 + 1

    def players(self) -> dict[str, Player]:
        """D, then generators, projectors and scale map, with an Adam each."""
        c = self.config
        optimizer = adam(c.learning_rate, (c.beta1, c.beta2), schedule=Schedule("linear", hold=c.decay_from))
        learners = [self.G, self.F] + ([self.M] if self.M is not None else [])
        return {"D": Player(self.D, optimizer), "G": Player(learners, optimizer)}

    def training_step(self, batch: Batch, progress: float) -> Iterator[Turn]:
        """One step of D on all translations, then one of everything else."""
        c = self.config
        x, y, seeds = batch.unpaired.source, batch.unpaired.target, batch.unpaired.seeds
        inputs, outputs, judged, real = {}, {}, {}, {}

        size = self._training_window(x)
        wide_x, wide_y = (self._crop(image, size, seeds, name) for image, name in ((x, "wide x"), (y, "wide y")))
        corners = self._corners(wide_x, size, seeds, "local x")
        inputs["local"] = _cut(wide_x, corners, size)  # Eq. 5
        real["local"] = _cut(wide_y, self._corners(wide_y, size, seeds, "local y"), size)
        if c.multiscale:
            inputs["global"], real["global"] = _resized(wide_x, size), _resized(wide_y, size)  # Eq. 4
        for branch in self.branches:
            both = torch.cat([inputs[branch], real[branch]]) if self._has_identity else inputs[branch]
            outputs[branch] = self._generator(branch)(both)
            judged[branch] = outputs[branch].image[: len(x)]
        if c.multiscale and c.fusion in ("learned", "half"):
            coarse = _resized(judged["global"], wide_x.shape[2:])
            M_s = _resized(self._scale_map(outputs["global"], len(x)), wide_x.shape[2:])
            coarse, M_s = _cut(coarse, corners, size), _cut(M_s, corners, size)
            judged["fused"], real["fused"] = fuse(judged["local"], coarse, M_s), real["local"]  # Eq. 6

        yield (
            "D",
            {
                f"gan_{name}": 0.5 * adversarial.discriminator(self.D(real[name]), self.D(fake.detach()), "least_squares")
                for name, fake in judged.items()
            },
        )
        losses = {
            f"gan_{name}": c.lambda_gan * adversarial.generator(self.D(fake), "least_squares") for name, fake in judged.items()
        }
        for branch in self.branches:
            losses |= self._consistency(branch, inputs[branch], outputs[branch], seeds, progress)
        yield "G", losses

    def _consistency(self, branch: str, x: Tensor, output: Translation, seeds: Tensor, progress: float) -> dict[str, Tensor]:
        """The losses of a branch between input and output: hDCE, hDCE of target images, TS."""
        c, B = self.config, len(x)
        losses: dict[str, Tensor] = {}
        on_embeddings = c.lambda_ts > 0 and c.ts_on == "embeddings"
        if self._contrasts or on_embeddings:
            n = B if not self._has_identity else 2 * B
            positions = [p.repeat(n // B, 1) for p in draw_positions(output.features, c.patches, seeds, branch)]
            project = self.F[branch]
            with torch.set_grad_enabled(on_embeddings and not c.ts_detach_input):
                z = project(output.features, positions)  # of the input, layer by layer (B, patches, C)
            w = project(self._generator(branch).encode(output.image), positions)  # of the output
        if self._contrasts:
            losses[f"{c.contrast}_{branch}"] = self._contrast([v[:B] for v in w], [v[:B] for v in z], progress)
        if self._has_identity:
            losses[f"{c.contrast}_same_{branch}"] = self._contrast([v[B:] for v in w], [v[B:] for v in z], progress)
        if on_embeddings:
            layers = TS_LAYERS[c.ts_layers]
            found = [self._rsmi(_as_samples(a[:B]), _as_samples(b[:B])) for a, b in zip(z[layers], w[layers], strict=True)]
            losses[f"ts_{branch}"] = -c.lambda_ts * torch.stack(found).mean()  # Eq. 1
        elif c.lambda_ts > 0:
            losses[f"ts_{branch}"] = -c.lambda_ts * self._rsmi(x.flatten(1), output.image[:B].flatten(1))
        return losses

    def _contrast(self, w: list[Tensor], z: list[Tensor], progress: float) -> Tensor:
        """Mean over the layers; half of it where target images bring the other half."""
        c = self.config
        if c.contrast == "patch_nce":
            found = [patch_nce(a, b.detach(), c.tau) for a, b in zip(w, z, strict=True)]
        else:
            gamma = c.gamma_start + (c.gamma_end - c.gamma_start) * progress
            beta = 1.0 / gamma if c.hdce_form == "source_code" else c.beta
            # Eqs. 7 to 9
            found = [hdce(a, b.detach(), beta=beta, tau=c.tau, form=c.hdce_form) for a, b in zip(w, z, strict=True)]
        return c.lambda_hdce * (0.5 if self._has_identity else 1.0) * torch.stack(found).mean()

    def _rsmi(self, x: Tensor, y: Tensor) -> Tensor:
        return rsmi(x, y, sigma=self.config.kernel_sigma, kernel_sign=self.config.kernel_sign).mean()  # Eqs. 2 and 3

    def translate(self, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C_target H W"]:
        """Both branches over windows with averaged overlaps, fused by the scale map (Eq. 6); any size."""
        if not self.config.multiscale:
            return slide(lambda crop: self.G["local"](crop).image, source, (self.config.window_px,) * 2)
        small, window = self._global_sides(source)
        fine = slide(lambda crop: self._generator("local")(crop).image, source, window)
        return fuse(fine, *self._global(source, small, window))

    def show(self, name: str, source: Float[Tensor, "B C_source H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 H W"]:
        """The scale map M_s of Eq. 6: 1 where the local branch is taken, -1 where the global one is; with one scale 1."""
        if not self.config.multiscale:
            return torch.ones_like(source[:, :1])
        _, M_s = self._global(source, *self._global_sides(source))
        return 2.0 * M_s - 1.0

    def _global_sides(self, source: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
        """Sides of the reduced image, and of the windows of both branches."""
        c, (height, width) = self.config, source.shape[2:]
        small = (allowed(-(-height // c.reduction)), allowed(-(-width // c.reduction)))
        return small, (min(c.window_px, small[0]), min(c.window_px, small[1]))

    def _global(self, source: Tensor, small: tuple[int, int], window: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The global branch's translation (B, C_target, H, W) and the scale map (B, 1, H, W)."""

        def with_map(crop: Tensor) -> Tensor:
            output = self._generator("global")(crop)
            return torch.cat([output.image, _resized(self._scale_map(output, len(crop)), crop.shape[2:])], dim=1)

        coarse = _resized(slide(with_map, _resized(source, small), window), source.shape[2:])
        return coarse[:, :-1], coarse[:, -1:]

    # --- What the config decides -------------------------------------------------------------------------------------

    @property
    def _contrasts(self) -> bool:
        return self.config.contrast != "none" and self.config.lambda_hdce > 0

    @property
    def _has_identity(self) -> bool:
        return self.config.identity and self._contrasts

    def _generator(self, branch: str) -> AntialiasedResNetGenerator:
        return self.G["local" if self.config.shared_generator else branch]  # type: ignore[return-value]

    def _scale_map(self, output: Translation, rows: int) -> Float[Tensor, "B 1 h w"]:
        if self.M is not None:
            return self.M(output.bottleneck[:rows])
        value = {"half": 0.5, "local": 1.0, "global": 0.0}[self.config.fusion]
        return torch.full_like(output.bottleneck[:rows, :1], value, dtype=torch.float32)

    # --- Crops -------------------------------------------------------------------------------------------------------

    def _training_window(self, x: Tensor) -> tuple[int, int]:
        """Height and width of local and of reduced global crops."""
        c = self.config
        reduction = c.reduction if c.multiscale else 1
        h, w = (min(c.window_px, side // reduction) // 4 * 4 for side in x.shape[2:])
        least = 4 * 2**c.discriminator_layers
        if min(h, w) < least:
            raise ContractError(f"SemST trains on crops of {least * reduction} px and more, got {x.shape[2]}x{x.shape[3]}")
        return h, w

    def _crop(self, x: Tensor, size: tuple[int, int], seeds: Tensor, purpose: str) -> Tensor:
        """The global crops, not yet reduced: Eq. 4; without a global branch, the image."""
        if not self.config.multiscale:
            return x
        wide = (self.config.reduction * size[0], self.config.reduction * size[1])
        return _cut(x, self._corners(x, wide, seeds, purpose), wide)

    def _corners(self, x: Tensor, size: tuple[int, int], seeds: Tensor, purpose: str) -> list[tuple[int, int]]:
        """Top and left of a random crop of each row, from its seed."""
        most = (x.shape[2] - size[0] + 1, x.shape[3] - size[1] + 1)
        return [(int(v * most[0]), int(u * most[1])) for v, u in uniform(seeds, (2,), purpose).tolist()]


def fuse(
    local: Float[Tensor, "B C H W"], coarse: Float[Tensor, "B C H W"], M_s: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B C H W"]:
    """Eq. 6: local where the scale map is 1, global where it is 0."""
    return M_s * local + (1.0 - M_s) * coarse


def _cut(x: Tensor, corners: list[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    return torch.stack(
        [row[:, top : top + size[0], left : left + size[1]] for row, (top, left) in zip(x, corners, strict=True)]
    )


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(x, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _as_samples(v: Float[Tensor, "B n C"]) -> Float[Tensor, "B n C"]:
    """The numbers of unit vectors, whose spread is 1/sqrt(C), with a spread of 1/2 within [-1, 1]."""
    return (v * (0.5 * v.shape[2] ** 0.5)).clamp(-1.0, 1.0)
