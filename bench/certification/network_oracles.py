"""The networks behind metrics, ours, a float64 self, and every other package's, all under one state dict.

The official weights where they are at hand; otherwise one seeded random state dict, which certifies the code of a network and
says nothing about any image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

from sarbench.bench.certification import inception_oracles
from sarbench.bench.certification import networks as plain
from sarbench.bench.certification.corpus import Pair
from sarbench.bench.certification.one_state import RANDOM, Network, doubled, filled, rgb, said, state_of, undownloaded
from sarbench.bench.certification.packages import Oracle, both, stretched, unit

if TYPE_CHECKING:
    from torch import Tensor

LPIPS = {"lpips": "alexnet", "lpips_vgg": "vgg16", "lpips_squeeze": "squeezenet1_1"}  # torchvision's names
PLAIN_MAPS = {"lpips": plain.alexnet, "lpips_vgg": plain.vgg, "lpips_squeeze": plain.squeezenet}
TIMM = {"nima": "inception_resnet_v2", "nima@vgg16": "vgg16"}


def names() -> list[str]:
    """The metrics that have a network of their own, and the conventions that differ in what they feed it."""
    return [*LPIPS, "lpips_vgg@cdiffset", "dbcnn", *TIMM, *inception_oracles.WAYS]


def network(name: str) -> Network:
    """The network of a metric, under official weights where they are at hand."""
    plain_name = name.partition("@")[0]
    if plain_name in LPIPS:
        return _lpips(name)
    if name in inception_oracles.WAYS:
        return inception_oracles.network(name)
    return _dbcnn() if name == "dbcnn" else _nima(name)


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

    state, weights = state_of(backbone.asset, shapes)
    state = {key: value for key, value in state.items() if key.startswith("features.")}
    heads = torch.load(own.heads_file(backbone), map_location="cpu", weights_only=True)
    ours = own.Lpips(backbone, {**state, **heads}, own.cdiffset if convention else own.full_range)
    wide = doubled({**state, **heads})

    def itself(pair: Pair) -> float:
        x, y = (z.numpy()[0].repeat(4 - z.shape[1], axis=0)[:3] for z in both(pair, prepare))
        return plain.lpips(PLAIN_MAPS[plain_name], wide, x, y)

    def oracle(package: str, call: str, build: Callable[[], Any], **named: Any) -> Oracle:
        made: list[Any] = []

        def of(pair: Pair) -> Any:
            if not made:
                with undownloaded(*LPIPS.values()):
                    module = build()
                made.append(filled(module, _renamed(module, state, heads)))
            x, y = (z.expand(-1, 3, -1, -1) for z in both(pair, prepare))
            return said(lambda *xy: made[0](*xy, **named), x, y)

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
    if not convention:
        oracles += [oracle("torchmetrics", f"_LPIPS(net={backbone.heads})", of_torchmetrics)]
        oracles += [oracle("pyiqa", f"LPIPS(net={backbone.heads}, normalize=False)", of_pyiqa, normalize=False)]
    slow = backbone is own.VGG
    return Network(name, weights, lambda pair: ours.distances(*pair.of(READS))[0], itself, tuple(oracles), slow)


READS = ("translated", "reference")


def _renamed(module: Any, state: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names as the packages have them: the layers cut into slices, the heads once more in a list."""
    found = {}
    for key in module.state_dict():
        part = key.split(".")
        if part[0] == "net":
            layer = part[3:] if part[1] == "slices" else part[2:]
            found[key] = state[".".join(("features", *layer))]
        elif part[0].startswith("lin"):
            k = part[1] if part[0] == "lins" else part[0].removeprefix("lin")
            found[key] = heads[f"lin{k}.model.1.weight"]
    return found


# --- Without a reference ---------------------------------------------------------------------------------------------


def _dbcnn() -> Network:
    import torch

    from sarbench.bench.metrics import dbcnn as metric
    from sarbench.bench.metrics.networks import dbcnn as own

    state, weights = state_of("dbcnn", own.shapes)
    if weights == RANDOM:
        state["fc.weight"] *= 50  # so that scores lie apart
        state["fc.bias"] += 1  # and away from 0
    ready, wide = own.weights(state, torch.device("cpu")), doubled(state)

    return Network(
        "dbcnn",
        weights,
        lambda pair: metric.of_weights(ready, pair.translated)[0],
        lambda pair: plain.dbcnn(wide, rgb(pair.translated)),
        (_blind("DBCNN", "dbcnn", state),),
        slow=True,
    )


def _nima(name: str) -> Network:
    import torch

    from sarbench.bench.metrics import nima as metric
    from sarbench.bench.metrics.networks import nima as own

    backbone = own.VGG if name == "nima@vgg16" else own.INCEPTION_RESNET
    state, weights = state_of(backbone.asset, lambda: own.shapes(backbone))
    if weights == RANDOM and backbone is own.INCEPTION_RESNET:
        state[f"{own.HEAD}.weight"] *= 0.02  # its maps are large then; the softmax must not be certain
    ready = own.weights(backbone, state, torch.device("cpu"))
    itself, wide = plain.nima_vgg if name == "nima@vgg16" else plain.nima, doubled(state)

    return Network(
        name,
        weights,
        lambda pair: metric.of_weights(backbone, ready, pair.translated)[0],
        lambda pair: itself(wide, rgb(pair.translated)),
        (_blind(f"NIMA(base_model_name={TIMM[name]})", name, state),),
        slow=True,
    )


def pyiqa_network(metric: str) -> Any:
    """Pyiqa's network of DBCNN or NIMA, without the weights that it would download."""
    from pyiqa.archs import dbcnn_arch, nima_arch

    if metric == "dbcnn":
        with undownloaded("vgg16"), mock.patch.object(dbcnn_arch, "load_pretrained_network"):
            return dbcnn_arch.DBCNN(pretrained=False)
    import timm

    of = timm.create_model
    with mock.patch.object(timm, "create_model", lambda base, pretrained, **named: of(base, pretrained=False, **named)):
        return nima_arch.NIMA(base_model_name=TIMM[metric], pretrained=False)


def _blind(call: str, metric: str, state: Mapping[str, Tensor]) -> Oracle:
    """Of pyiqa: a network that reads one image in [0, 1]."""
    made: list[Any] = []

    def of(pair: Pair) -> Any:
        if not made:
            made.append(filled(pyiqa_network(metric), {key: value for key, value in state.items() if "num_batches" not in key}))
        return said(made[0], unit(pair.translated).expand(-1, 3, -1, -1))

    return Oracle("pyiqa", call, metric, of)
