"""LPIPS with any of its three networks: distances, and references prepared once.

Zhang, Isola, Efros, Shechtman and Wang, CVPR 2018, https://arxiv.org/abs/1801.03924, version 0.1: the networks are
torchvision's, the learned heads are files of the `lpips` package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sarbench.bench import assets
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics._pairs import check_pairs
from sarbench.bench.metrics._parallel import loaded_once
from sarbench.bench.metrics.networks import alexnet, running, squeezenet, vgg

SHIFT = (-0.030, -0.088, -0.188)  # mean and spread of ImageNet's bands, for values in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-10
PIXELS_AT_ONCE = 8 * 256 * 256  # of one side


@dataclass(frozen=True)
class Backbone:
    """A network of LPIPS: which of its maps count, and where its weights come from."""

    metric: str
    heads: str  # its name in the `lpips` package
    asset: str
    least_px: int
    maps: Callable[[Mapping[str, Tensor], Tensor], Iterator[Tensor]]


ALEX = Backbone("lpips", "alex", "alexnet", alexnet.LEAST_PX, alexnet.maps)
VGG = Backbone("lpips_vgg", "vgg", "vgg16", vgg.LEAST_PX, lambda weights, x: vgg.maps(weights, "features.", x))
SQUEEZE = Backbone("lpips_squeeze", "squeeze", "squeezenet1_1", squeezenet.LEAST_PX, squeezenet.maps)


def full_range(x: Tensor) -> Tensor:
    """[0, 1] to [-1, 1], as the heads were trained."""
    return x * 2 - 1


def cdiffset(x: Tensor) -> Tensor:
    """[0, 1] as the evaluation code of C-DiffSET feeds it: clamp(x + 0.5, 0, 1) of values in [-1, 1], not scaled back."""
    return (x * 2 - 0.5).clamp_(0, 1)


class Lpips:
    """LPIPS v0.1 under given weights; their device is where it runs.

    `weights` holds `features.<i>...` as torchvision names them and `lin<k>.model.1.weight` as the `lpips` package does.
    `values` takes pixels from [0, 1] to what the network sees.
    """

    def __init__(
        self, backbone: Backbone, weights: Mapping[str, Tensor], values: Callable[[Tensor], Tensor] = full_range
    ) -> None:
        self.backbone, self.values = backbone, values
        heads = [name for name in weights if name.startswith("lin")]
        self.heads = [weights[f"lin{k}.model.1.weight"] for k in range(len(heads))]  # (1, C, 1, 1)
        self.features = running.channels_last(weights, "features.")
        self.device = self.heads[0].device

    def distances(self, translated: ImageBatch, reference: ImageBatch) -> Float[np.ndarray, " B"]:
        """LPIPS of each pair, (B,) float64.

        Raises ContractError for unlike sides, sides too small for the network, and bands other than 1 or 3.
        """
        self._check(translated, reference)
        found = []
        with running.exact(self.device):
            for part in running.parts(translated, PIXELS_AT_ONCE):
                both = np.concatenate((translated.pixels[part], reference.pixels[part]))  # one forward for both sides
                found.append(self._total(unit.chunk(2) for unit in self._units(both, translated.peak)))
        return np.concatenate(found)

    def prepare(self, reference: ImageBatch) -> dict[str, Float[np.ndarray, "B h w C"]]:
        """What `distances_prepared` needs of references: the unit feature vectors of each layer, float32, by layer.

        Row i belongs to image i, so rows can be kept apart and stacked again. Of a 256x256 image they take 2.6 MB with
        AlexNet, 8.8 MB with SqueezeNet and 32 MB with VGG-16.
        """
        self._check(reference, reference)
        found: list[list[np.ndarray]] = [[] for _ in self.heads]
        with running.exact(self.device):
            for part in running.parts(reference, PIXELS_AT_ONCE):
                for rows, unit in zip(found, self._units(reference.pixels[part], reference.peak), strict=True):
                    rows.append(unit.permute(0, 2, 3, 1).cpu().numpy())
        return {str(k): np.concatenate(rows) for k, rows in enumerate(found)}

    def distances_prepared(
        self, translated: ImageBatch, prepared: Mapping[str, Float[np.ndarray, "B h w C"]]
    ) -> Float[np.ndarray, " B"]:
        """LPIPS of each image against its reference as `prepare` left it: equal to `distances` up to float rounding.

        Raises ContractError as `distances`, and where the references are of another number or size.
        """
        self._check(translated, translated)
        found = []
        with running.exact(self.device):
            for part in running.parts(translated, PIXELS_AT_ONCE):
                units = self._units(translated.pixels[part], translated.peak)
                found.append(self._total((unit, self._kept(prepared[str(k)][part], unit)) for k, unit in enumerate(units)))
        return np.concatenate(found)

    def _check(self, translated: ImageBatch, reference: ImageBatch) -> None:
        check_pairs(translated, reference, self.backbone.metric)
        running.refuse_bands(translated, self.backbone.metric, self.backbone.least_px)

    def _kept(self, rows: Float[np.ndarray, "n h w C"], unit: Float[Tensor, "n C h w"]) -> Float[Tensor, "n C h w"]:
        rows = np.require(rows, np.float32, "W")  # torch warns of arrays that can't be written, such as mapped files
        kept = torch.from_numpy(rows).to(self.device).permute(0, 3, 1, 2)
        if kept.shape != unit.shape:
            raise ContractError(
                f"{self.backbone.metric}: the prepared references are {tuple(kept.shape)} where the images give "
                f"{tuple(unit.shape)}; prepare the references of these images, with this network"
            )
        return kept

    def _units(self, pixels: Shaped[np.ndarray, "n H W C"], peak: int) -> Iterator[Float[Tensor, "n _ _ _"]]:
        """The maps of the network, layer by layer, each pixel's feature vector scaled to unit length."""
        x = running.standardised(self.values(running.unit_rgb(pixels, peak, self.device)), SHIFT, SCALE)
        for features in self.backbone.maps(self.features, x):
            yield features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPS)

    def _total(self, layers: Iterator[Sequence[Tensor]]) -> Float[np.ndarray, " n"]:
        """Eq. 1; as products and sums, since a 1x1 convolution may run in TF32; in place, since memory is what limits it."""
        terms = [a.sub_(b).square_().mul_(head).sum(1).mean((1, 2)) for (a, b), head in zip(layers, self.heads, strict=True)]
        return torch.stack(terms).double().sum(0).cpu().numpy()


@loaded_once
def load(backbone: Backbone, values: Callable[[Tensor], Tensor] = full_range) -> Lpips:
    """LPIPS with the official weights, on the GPU where there is one; kept. AssetMissing without the network's weights."""
    where = running.device()
    heads = torch.load(heads_file(backbone), map_location="cpu", weights_only=True)
    features = running.channels_last(assets.load_state_dict(backbone.asset), "features.")
    return Lpips(backbone, {name: value.to(where) for name, value in {**features, **heads}.items()}, values)


def heads_file(backbone: Backbone) -> Path:
    """The learned heads of a network, a file of the `lpips` package; ContractError where that is missing."""
    # found without importing the package, which would import torchvision: seconds
    spec = importlib.util.find_spec("lpips")
    file = Path(spec.origin).parent / "weights" / "v0.1" / f"{backbone.heads}.pth" if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ContractError("the learned heads of LPIPS are missing; run `pip install lpips==0.1.4`, which brings them")
    return file
