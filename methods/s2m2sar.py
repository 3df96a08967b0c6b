"""S2M2-SAR: Semi-supervised Multiscale Matching for SAR-Optical Image.

Gai and Li, 2025, https://arxiv.org/abs/2508.07812
Differs from the paper: what is built here is the released system, as a card of its facts describes it, since the text of
the paper could not be had; test offsets and the choice of labelled pairs are keyed, not drawn on each access.

Both images pass one ResNet-FPN. At two levels their features are enhanced across sensors and correlated by FFT: deep, at
one place in eight, and shallow, at every place. Where labels are scarce, the product of both surfaces labels the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sarbench.bench.interface import Card, Player, Supervision, Turn, adamw, setting
from sarbench.bench.matcher import MatchBatch, Matcher
from sarbench.methods.losses.match_heatmaps import against_pseudo_label, at_place, coarse_place, pseudo_label
from sarbench.methods.losses.mutual_independence import mutual_information
from sarbench.methods.networks import correlation
from sarbench.methods.networks.feature_enhancement import FeatureEnhancement
from sarbench.methods.networks.siamese_fpn import ResidualFPN

Surface = Literal["product", "shallow", "deep"]


@dataclass(frozen=True)
class Config:
    """Hyperparameters of S2M2-SAR; the defaults are those of the released code. "Card" is a card of its facts, section 5."""

    widths: tuple[int, ...] = setting((32, 64, 128, 256, 512), "card 5.2: of the encoder, at strides 1, 2, 4, 8 and 16")
    groups: int = setting(32, "card 5.2: of the group normalisation")
    heads: int = setting(8, "card 5.2: of the linear attention")
    input_scale: float = setting(255.0, "card 5.1: images enter as 0 to 255; 1: as 0 to 1")
    enhancement_blocks: int = setting(1, "card 5.6, 5.7: a single block is enough; 0 and 2 are ablations")
    enhancement_passes: int = setting(2, "card 5.2: the code passes the stack twice; 1: presumably the paper's intent")
    normalisation: Literal["full", "valid", "ncc"] = setting(
        "full", "card 5.2: least to largest of the full map; ncc: true window"
    )
    prediction: Literal["product", "shallow", "deep"] = setting("product", "card 5.2; one level alone is an ablation")
    pseudo_source: Literal["product", "shallow", "deep"] = setting("product", "card 5.3; one level alone is an ablation")
    shallow_sharpness: float = setting(30.0, "card 5.3: 1/T of the labelled shallow surface")
    deep_sharpness: float = setting(100.0, "card 5.3: 1/T of the labelled deep surface")
    pseudo_sharpness: float = setting(200.0, "card 5.3: of the pseudo-label")
    unlabelled_sharpness: float = setting(80.0, "card 5.3: of the shallow surface that the pseudo-label teaches")
    lambda_pseudo: float = setting(1.0, "card 5.3: all weights are 1")
    lambda_independence: float = setting(1.0, "card 5.3: all weights are 1; 0: no mutual-independence loss")
    bins: int = setting(32, "card 5.3: of the soft histograms")
    histogram_pool: int = setting(8, "card 5.3: features are averaged over windows of 8 px before they are counted")
    histogram_scale: Literal["clamp", "minmax"] = setting("clamp", "card 5.3: clamping stops the gradient of what is outside")
    supervised: bool = setting(False, "card 5.4: labelled pairs alone; the code's reference then has a rate of 5e-5")
    labelled_share: float | None = setting(None, "card 5.7: of the training pairs; None: the protocol's, by default 1/16")
    labelled_rows: int = setting(1, "card 5.4: one labelled pair and 15 unlabelled ones in a batch")
    learning_rate: float = setting(1e-5, "card 5.4, constant")
    weight_decay: float = setting(0.1, "card 5.4")
    batch_size: int = setting(16, "card 5.4")


PAPER = Config()


class Matched(NamedTuple):
    """What the network says of a batch."""

    deep: Float[Tensor, "B p q"]
    shallow: Float[Tensor, "B P Q"]
    independence: Float[Tensor, " B"]  # mutual information of shared and other features, over both levels and sensors

    def rows(self, start: int, stop: int) -> Matched:
        """Rows [start, stop)."""
        return Matched(*(part[start:stop] for part in self))


class S2M2SAR(Matcher):
    """A Siamese pyramid, enhanced across sensors, matched at two levels."""

    card = Card(
        title="S2M2-SAR",
        paper="https://arxiv.org/abs/2508.07812",
        year=2025,
        supervision="semi",
        channels="same",
        size_multiple=16,
        fidelity="reconstruction",
        deviations=(
            "Built from a card of facts about the released code: the text of the paper, beyond its abstract, could not be had.",
            "Test offsets are drawn once for each image, and labelled pairs by a keyed shuffle; the code draws on each access.",
            "The mutual information of a batch is the mean over its samples.",
        ),
        licence="none given with the official code",
        task="matching",
    )
    presets = {
        "paper": PAPER,
        "bench": replace(PAPER, learning_rate=1e-4),  # a sixth of the paper's steps
        "tiny": replace(
            PAPER,
            widths=(4, 8, 16, 16, 16),
            groups=4,
            heads=2,
            enhancement_passes=1,
            normalisation="ncc",  # learns within minutes, where the full map's least and largest do not
            learning_rate=2e-3,
            weight_decay=0.01,
            batch_size=2,
        ),
    }
    ablations = {
        "switches": {  # those of the released code; the tables of the paper could not be had
            "": {},
            "supervised, the same labels": {"supervised": "true"},
            "no mutual independence": {"lambda_independence": "0"},
            "no enhancement": {"enhancement_blocks": "0"},
            "two enhancement blocks": {"enhancement_blocks": "2"},
            "one pass": {"enhancement_passes": "1"},
            "pseudo-labels of the deep level": {"pseudo_source": "deep"},
            "pseudo-labels of the shallow level": {"pseudo_source": "shallow"},
            "window normalisation": {"normalisation": "ncc"},
        },
    }
    config: Config

    def __init__(self, config: Config, source_channels: int, target_channels: int) -> None:
        super().__init__(config, source_channels, target_channels)
        c = config
        self.features = ResidualFPN(source_channels, widths=c.widths, groups=c.groups)
        self.enhance_deep = FeatureEnhancement(self.features.deep_channels, blocks=c.enhancement_blocks, heads=c.heads)
        self.enhance_shallow = FeatureEnhancement(self.features.shallow_channels, blocks=c.enhancement_blocks, heads=c.heads)

    @property
    def supervision(self) -> Supervision:
        """Labelled pairs and unlabelled ones, or the former alone."""
        return "paired" if self.config.supervised else "semi"

    @property
    def labelled_rows(self) -> int:
        """Of a batch."""
        return self.config.batch_size if self.config.supervised else self.config.labelled_rows

    @property
    def labelled_share(self) -> float | None:
        """Of the training pairs; None: the protocol's."""
        return self.config.labelled_share

    def players(self) -> dict[str, Player]:
        """One player: the network."""
        modules = [self.features, self.enhance_deep, self.enhance_shallow]
        return {"matcher": Player(modules, adamw(self.config.learning_rate, weight_decay=self.config.weight_decay))}

    def training_step(self, batch: MatchBatch, progress: float) -> Iterator[Turn]:
        """Both levels against the labels; then shallow against what both levels say of pairs without labels."""
        c, labelled = self.config, batch.labelled
        n, template, search = len(labelled), labelled.template, labelled.search
        if not c.supervised:
            template = torch.cat([template, batch.unlabelled.template])
            search = torch.cat([search, batch.unlabelled.search])
        everything = self._match(template, search)
        known, rest = everything.rows(0, n), everything.rows(n, len(template))
        fine, coarse = known.shallow.shape[1:], known.deep.shape[1:]
        losses = {
            "shallow": at_place(c.shallow_sharpness * known.shallow, labelled.offset),
            "deep": at_place(c.deep_sharpness * known.deep, coarse_place(labelled.offset, fine, coarse)),
        }
        if not c.supervised:
            label = pseudo_label(_combined(rest, c.pseudo_source, "bilinear"), c.pseudo_sharpness)
            losses["pseudo"] = c.lambda_pseudo * against_pseudo_label(c.unlabelled_sharpness * rest.shallow, label)
        if c.lambda_independence and c.enhancement_blocks:
            losses["independence"] = c.lambda_independence * known.independence.mean()
            if not c.supervised:
                losses["independence_unlabelled"] = c.lambda_independence * rest.independence.mean()
        yield "matcher", losses

    def match(
        self, template: Float[Tensor, "B C_source h w"], search: Float[Tensor, "B C_target H W"]
    ) -> Float[Tensor, "B P Q"]:
        """The product of the shallow surface and the deep one, whose places are repeated."""
        return _combined(self._match(template, search), self.config.prediction, "nearest")

    def _match(self, template: Tensor, search: Tensor) -> Matched:
        c = self.config
        surfaces, independence = [], []
        maps = zip(self._encode(template), self._encode(search), strict=True)
        for enhance, raw in zip((self.enhance_deep, self.enhance_shallow), maps, strict=True):
            enhanced = raw
            for _ in range(c.enhancement_passes):
                raw, enhanced = enhanced, enhance(*enhanced)
            if self.training and c.lambda_independence and c.enhancement_blocks:
                independence += [
                    mutual_information(own, before.detach() - own, bins=c.bins, pool=c.histogram_pool, scale=c.histogram_scale)
                    for own, before in zip(enhanced, raw, strict=True)
                ]
            surfaces.append(correlation.similarity(*enhanced, c.normalisation))
        deep, shallow = surfaces
        return Matched(deep, shallow, sum(independence, template.new_zeros(len(template))))

    def _encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.features((image + 1) / 2 * self.config.input_scale)


def _combined(found: Matched, source: Surface, mode: Literal["nearest", "bilinear"]) -> Float[Tensor, "B P Q"]:
    """One surface at every place: of one level, or the product of both."""
    if source == "shallow":
        return found.shallow
    deep = F.interpolate(found.deep[:, None], found.shallow.shape[1:], mode=mode)[:, 0]
    return deep if source == "deep" else deep * found.shallow
