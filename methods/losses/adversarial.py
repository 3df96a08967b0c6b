"""Adversarial losses as functions of logits; the forward passes of D stay visible in the method.

D turn:  adversarial.discriminator(self.D(y), self.D(fake.detach()), "bce")
G turn:  adversarial.generator(self.D(fake), "bce")

- Logits are a tensor of any shape, or a sequence of them from a discriminator of several scales: the mean of each
  tensor, summed over the scales.
- The discriminator's loss is its real half plus its fake half; papers that halve it write `0.5 *`.
- A relativistic average loss (Jolicoeur-Martineau, 2019) is the same function of differences:
  `discriminator(real - fake.mean(), fake - real.mean(), "bce")`, and for G with the two arguments swapped.
- Everything is computed in float32, whatever the precision of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["bce", "least_squares", "hinge"]
Logits: TypeAlias = Tensor | Sequence[Tensor]

REAL: dict[Kind, Callable[[Tensor], Tensor]] = {
    "bce": lambda d: F.softplus(-d),  # -log sigmoid(d)
    "least_squares": lambda d: (d - 1.0) ** 2,
    "hinge": lambda d: F.relu(1.0 - d),
}
FAKE: dict[Kind, Callable[[Tensor], Tensor]] = {
    "bce": lambda d: F.softplus(d),  # -log(1 - sigmoid(d))
    "least_squares": lambda d: d**2,
    "hinge": lambda d: F.relu(1.0 + d),
}
FOOL: dict[Kind, Callable[[Tensor], Tensor]] = {
    "bce": lambda d: F.softplus(-d),  # not saturating: -log D(fake) in place of log(1 - D(fake))
    "least_squares": lambda d: (d - 1.0) ** 2,
    "hinge": lambda d: -d,
}


def discriminator(real: Logits, fake: Logits, kind: Kind) -> Float[Tensor, ""]:
    """What D minimises: real images are real, fake ones fake.

    "bce": Goodfellow et al. (2014), Eq. 1; "least_squares": Mao et al. (2017), Eq. 9 without the factor 1/2;
    "hinge": Lim and Ye (2017).
    """
    return _mean(REAL[kind], real) + _mean(FAKE[kind], fake)


def generator(fake: Logits, kind: Kind) -> Float[Tensor, ""]:
    """What G minimises: D takes its fakes for real; "bce" in the form that does not saturate."""
    return _mean(FOOL[kind], fake)


def _mean(loss: Callable[[Tensor], Tensor], logits: Logits) -> Tensor:
    scales = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([loss(scale.float()).mean() for scale in scales]).sum()


def relativistic(above: Logits, below: Logits) -> Float[Tensor, ""]:
    """-log sigmoid(above - below), logit by logit: D gives (real, fake), G gives (fake, real).

    Relativistic standard GAN of Jolicoeur-Martineau (2019), Eqs. 5 and 6, without averages.
    """
    scales = [[logits] if isinstance(logits, Tensor) else logits for logits in (above, below)]
    return _mean(FOOL["bce"], [first.float() - second.float() for first, second in zip(*scales, strict=True)])
