"""The networks behind metrics, ours, a float64 self, and every other package's, all under one state dict.

The official weights where they are at hand; otherwise one seeded random state dict, which certifies the code of a network and
says nothing about any image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from jaxtyping import Float

from sarbench.bench import assets
from sarbench.bench import certify_networks as plain
from sarbench.bench.certify_corpus import Pair, random_state
from sarbench.bench.certify_oracles import Oracle, both, stretched, unit

if TYPE_CHECKING:
    from torch import Tensor

    from sarbench.bench.metric import ImageBatch

RANDOM = "random weights: network code only"
OFFICIAL = "official weights"
LPIPS = {"lpips": "alexnet", "lpips_vgg": "vgg16", "lpips_squeeze": "squeezenet1_1"}  # torchvision's names
PLAIN_MAPS = {"lpips": plain.alexnet, "lpips_vgg": plain.vgg, "lpips_squeeze": plain.squeezenet}
INCEPTION = {"fid": "clean", "fid@pytorch-fid": "bilinear", "fid@torch-fidelity": "bilinear_from_corner"}
TIMM = {"nima": "inception_resnet_v2", "nima@vgg16": "vgg16"}


@dataclass(frozen=True)
class Network:
    """A metric's network under given weights."""

    metric: str
    weights: str  # official, or random
    ours: Callable[[Pair], Any]
    itself: Callable[[Pair], Any]
    oracles: tuple[Oracle, ...]
    slow: bool = False


def names() -> list[str]:
    """The metrics that have a network of their own, and the conventions that differ in what they feed it."""
    return [*LPIPS, "lpips_vgg@cdiffset", "dbcnn", *TIMM, *INCEPTION]


def network(name: str) -> Network:
    """The network of a metric, under official weights where they are at hand."""
    plain_name = name.partition("@")[0]
    if plain_name in LPIPS:
        return _lpips(name)
    if name in INCEPTION:
        return _inception(name)
    return _dbcnn() if name == "dbcnn" else _nima(name)


def _state(asset: str, shapes: Callable[[], Mapping[str, tuple[int, ...]]]) -> tuple[dict[str, Tensor], str]:
    try:
        found = assets.load_state_dict(asset)
    except assets.AssetMissing:
        return random_state(shapes()), RANDOM
    return dict(found.get("params", found)), OFFICIAL


def _wide(state: Mapping[str, Tensor]) -> dict[str, Float[np.ndarray, "..."]]:
    return {name: value.double().numpy() for name, value in state.items()}


def _rgb(images: ImageBatch) -> Float[np.ndarray, "3 H W"]:
    return unit(images)[0].expand(3, -1, -1).numpy()


@contextmanager
def _undownloaded(*builders: str) -> Iterator[None]:
    """Torchvision's networks without the weights that packages ask it to fetch."""
    import torchvision

    build = {name: getattr(torchvision.models, name) for name in builders}
    fakes = {name: lambda *_, of=of, **__: of(weights=None) for name, of in build.items()}
    with mock.patch.multiple(torchvision.models, **fakes):
        yield


def _filled(module: Any, state: Mapping[str, Tensor]) -> Any:
    """A module in float64 whose every tensor comes from a state dict, but for counters and constants."""
    missing, unexpected = module.load_state_dict(state, strict=False)
    left = [name for name in missing if "num_batches" not in name and "scaling_layer" not in name]
    if left or unexpected:
        raise ValueError(f"the package's network has other tensors: {(left + list(unexpected))[:3]}")
    return module.eval().double()


def _said(module: Callable[..., Any], *inputs: Tensor) -> Float[np.ndarray, "..."]:
    import torch

    with torch.inference_mode():
        found = module(*inputs)
    return np.squeeze(found.double().numpy())


# --- LPIPS -----------------------------------------------------------------------------------------------------------


def _lpips(name: str) -> Network:
    import torch
    import torchvision

    from sarbench.bench.metrics.networks import lpips as own

    plain_name, _, convention = name.partition("@")
    builder = LPIPS[plain_name]
    backbone = {"lpips": own.ALEX, "lpips_vgg": own.VGG, "lpips_squeeze": own.SQUEEZE}[plain_name]
    prepare = stretched if convention else (lambda images: 2 * unit(images) - 1)

    def shapes() -> dict[str, tuple[int, ...]]:
        features = getattr(torchvision.models, builder)(weights=None).features.state_dict()
        return {f"features.{key}": tuple(value.shape) for key, value in features.items()}

    state, weights = _state(backbone.asset, shapes)
    state = {key: value for key, value in state.items() if key.startswith("features.")}
    heads = torch.load(own.heads_file(backbone), map_location="cpu", weights_only=True)
    ours = own.Lpips(backbone, {**state, **heads}, own.cdiffset if convention else own.full_range)
    wide = _wide({**state, **heads})

    def itself(pair: Pair) -> float:
        x, y = (z.numpy()[0].repeat(4 - z.shape[1], axis=0)[:3] for z in both(pair, prepare))
        return plain.lpips(PLAIN_MAPS[plain_name], wide, x, y)

    def oracle(package: str, call: str, build: Callable[[], Any], **named: Any) -> Oracle:
        made: list[Any] = []

        def of(pair: Pair) -> Any:
            if not made:
                with _undownloaded(*LPIPS.values()):
                    module = build()
                made.append(_filled(module, _renamed(module, state, heads)))
            x, y = (z.expand(-1, 3, -1, -1) for z in both(pair, prepare))
            return _said(lambda *xy: made[0](*xy, **named), x, y)

        return Oracle(package, call, name, of)

    def of_package() -> Any:
        import lpips

        return lpips.LPIPS(pretrained=False, pnet_rand=True, net=backbone.heads, verbose=False)

    def of_torchmetrics() -> Any:
        from torchmetrics.functional.image.lpips import _LPIPS

        return _LPIPS(pretrained=False, pnet_rand=True, net=backbone.heads)

    def of_pyiqa() -> Any:
        from pyiqa.archs.lpips_arch import LPIPS as Arch

        return Arch(pretrained=False, pnet_rand=True, net=backbone.heads)

    oracles = [oracle("lpips", f"LPIPS(net={backbone.heads})", of_package)]
    oracles += [oracle("torchmetrics", f"_LPIPS(net={backbone.heads})", of_torchmetrics)]
    oracles += [oracle("pyiqa", f"LPIPS(net={backbone.heads}, normalize=False)", of_pyiqa, normalize=False)]
    return Network(name, weights, lambda pair: ours.distances(*pair.of(READS))[0], itself, tuple(oracles))


READS = ("translated", "reference")


def _renamed(module: Any, state: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names as the packages have them: the layers cut into slices, the heads once more in a list."""
    found = {}
    for key in module.state_dict():
        part = key.split(".")
        if part[0] == "net":
            found[key] = state[".".join(("features", *part[2:]))]
        elif part[0].startswith("lin"):
            k = part[1] if part[0] == "lins" else part[0].removeprefix("lin")
            found[key] = heads[f"lin{k}.model.1.weight"]
    return found


# --- Without a reference ---------------------------------------------------------------------------------------------


def _dbcnn() -> Network:
    import torch

    from sarbench.bench.metrics import dbcnn as metric
    from sarbench.bench.metrics.networks import dbcnn as own

    state, weights = _state("dbcnn", own.shapes)
    if weights == RANDOM:
        state["fc.weight"] *= 50  # so that scores lie apart
        state["fc.bias"] += 1  # and away from 0
    ready = own.weights(state, torch.device("cpu"))

    def build() -> Any:
        from pyiqa.archs import dbcnn_arch

        with _undownloaded("vgg16"), mock.patch.object(dbcnn_arch, "load_pretrained_network"):
            return dbcnn_arch.DBCNN(pretrained=False)

    return Network(
        "dbcnn",
        weights,
        lambda pair: metric.of_weights(ready, pair.translated)[0],
        lambda pair: plain.dbcnn(_wide(state), _rgb(pair.translated)),
        (_blind("DBCNN", "dbcnn", build, state),),
    )


def _nima(name: str) -> Network:
    import torch

    from sarbench.bench.metrics import nima as metric
    from sarbench.bench.metrics.networks import nima as own

    backbone = own.VGG if name == "nima@vgg16" else own.INCEPTION_RESNET
    state, weights = _state(backbone.asset, lambda: own.shapes(backbone))
    if weights == RANDOM and backbone is own.INCEPTION_RESNET:
        state[f"{own.HEAD}.weight"] *= 0.02  # its maps are large then; the softmax must not be certain
    ready = own.weights(backbone, state, torch.device("cpu"))
    itself = plain.nima_vgg if name == "nima@vgg16" else plain.nima

    def build() -> Any:
        import timm
        from pyiqa.archs.nima_arch import NIMA

        of = timm.create_model
        with mock.patch.object(timm, "create_model", lambda base, pretrained, **named: of(base, pretrained=False, **named)):
            return NIMA(base_model_name=TIMM[name], pretrained=False)

    return Network(
        name,
        weights,
        lambda pair: metric.of_weights(backbone, ready, pair.translated)[0],
        lambda pair: itself(_wide(state), _rgb(pair.translated)),
        (_blind(f"NIMA(base_model_name={TIMM[name]})", name, build, state),),
        slow=True,
    )


def _blind(call: str, metric: str, build: Callable[[], Any], state: Mapping[str, Tensor]) -> Oracle:
    """Of pyiqa: a network that reads one image in [0, 1]."""
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        if not made:
            made.append(_filled(build(), {key: value for key, value in state.items() if "num_batches" not in key}))
        return _said(made[0], unit(pair.translated).expand(-1, 3, -1, -1))

    return Oracle("pyiqa", call, metric, of)


# --- Inception -------------------------------------------------------------------------------------------------------


def _inception(name: str) -> Network:
    import torchvision

    from sarbench.bench.metrics import _inception as own
    from sarbench.bench.metrics.networks.inception import Inception

    def shapes() -> dict[str, tuple[int, ...]]:
        known = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        return {key: tuple(value.shape) for key, value in known.state_dict().items() if "num_batches" not in key}

    state, weights = _state("inception", shapes)
    ours, way = Inception(state), INCEPTION[name]
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
        lambda pair: plain.inception(_wide(state), getattr(plain, way)(_rgb(pair.translated))),
        (Oracle(package, calls[name], name, of(state), takes=_eight_bits_rgb),),
        slow=True,
    )


def _eight_bits_rgb(pair: Pair) -> bool:
    return pair.peak == 255 and pair.bands == 3


def _blocks(state: Mapping[str, Tensor]) -> Any:
    """pytorch-fid's network with these weights in place of its download."""
    from pytorch_fid import inception as official

    with mock.patch.object(official, "load_state_dict_from_url", return_value=state):
        return official.InceptionV3([3]).eval()


def _of_pytorch_fid(state: Mapping[str, Tensor]) -> Callable[[Pair], Any]:
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        made.extend([] if made else [_blocks(state).double()])
        return _said(lambda x: made[0](x)[0], unit(pair.translated))

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
            found.layers = torch.nn.Sequential(*_blocks(state).blocks)
            made.append(found.double())
        return _said(made[0], to_tensor(build_resizer("clean")(pair.translated.pixels[0]))[None].double())

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
        return _said(lambda x: made[0](x)[0], torch.from_numpy(np.moveaxis(pair.translated.pixels, 3, 1)))

    return of
