"""Inception-v3 behind its three ways to 299 px: ours, a float64 self, and the packages', under one state dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from sarbench.bench.certification import networks as plain
from sarbench.bench.certification.corpus import Pair
from sarbench.bench.certification.one_state import Network, doubled, rgb, said, state_of
from sarbench.bench.certification.packages import Oracle, unit

if TYPE_CHECKING:
    from torch import Tensor

WAYS = {"fid": "clean", "fid@pytorch-fid": "bilinear", "fid@torch-fidelity": "bilinear_from_corner"}


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the published file of FID's Inception, but for counters of batches."""
    import torchvision

    known = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    return {key: tuple(value.shape) for key, value in known.state_dict().items() if "num_batches" not in key}


def network(name: str) -> Network:
    """The features of one of the three metrics."""
    from sarbench.bench.metrics import _inception as own
    from sarbench.bench.metrics.networks.inception import Inception

    state, weights = state_of("inception", shapes)
    ours, way, wide = Inception(state), WAYS[name], doubled(state)
    of = {"fid": _of_clean_fid, "fid@pytorch-fid": _of_pytorch_fid, "fid@torch-fidelity": _of_torch_fidelity}[name]
    package = {"fid": "clean-fid"}.get(name, name.partition("@")[2])
    calls = {
        "fid": "build_resizer('clean'), InceptionV3W around pytorch-fid's blocks",
        "fid@pytorch-fid": "InceptionV3",
        "fid@torch-fidelity": "FeatureExtractorInceptionV3",
    }
    return Network(
        name,
        weights,
        lambda pair: own.features_of(ours, pair.translated, getattr(own, way))[0],
        lambda pair: plain.inception(wide, getattr(plain, way)(rgb(pair.translated))),
        (Oracle(package, calls[name], name, of(state), takes=_eight_bits_rgb),),
        slow=True,
    )


def _eight_bits_rgb(pair: Pair) -> bool:
    return pair.peak == 255 and pair.bands == 3


def pytorch_fid_network(state: Mapping[str, Tensor]) -> Any:
    """pytorch-fid's network with these weights in place of its download."""
    from pytorch_fid import inception as official

    with mock.patch.object(official, "load_state_dict_from_url", return_value=state):
        return official.InceptionV3([3]).eval()


def _of_pytorch_fid(state: Mapping[str, Tensor]) -> Callable[[Pair], Any]:
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        made.extend([] if made else [pytorch_fid_network(state).double()])
        return said(lambda x: made[0](x)[0], unit(pair.translated))

    return of


def _of_clean_fid(state: Mapping[str, Tensor]) -> Callable[[Pair], Any]:
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        import torch
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer
        from torchvision.transforms.functional import to_tensor

        if not made:  # its TorchScript file is a download, so its way in is put around pytorch-fid's blocks
            found = InceptionV3W.__new__(InceptionV3W)
            torch.nn.Module.__init__(found)
            found.resize_inside = False
            found.layers = torch.nn.Sequential(*pytorch_fid_network(state).blocks)
            made.append(found.double())
        return said(made[0], to_tensor(build_resizer("clean")(pair.translated.pixels[0]))[None].double())

    return of


def _of_torch_fidelity(state: Mapping[str, Tensor]) -> Callable[[Pair], Any]:
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        import tempfile

        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        if not made:
            with tempfile.NamedTemporaryFile(suffix=".pth") as file:
                torch.save(dict(state), file)
                file.flush()
                made.append(FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=file.name))
        return said(lambda x: made[0](x)[0], torch.from_numpy(np.moveaxis(pair.translated.pixels, 3, 1)))

    return of
