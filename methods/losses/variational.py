"""What keeps the latent code of a variational autoencoder near a standard normal distribution."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def kl_to_standard_normal(mean: Float[Tensor, "*shape"], log_var: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """KL(N(mean, exp(log_var)) || N(0, 1)), the mean over all latent values, in nats and float32.

    Kingma and Welling (2014), App. B.
    """
    mean, log_var = mean.float(), log_var.float()
    return 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var).mean()
