"""A pool of earlier translations, which shows the discriminator some of the generator's past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sarbench.bench.interface import uniform


class ImagePool(nn.Module):
    """Image pool of Shrivastava et al. (2017), Sec. 2.3, as CycleGAN uses it (Zhu et al., 2017, Sec. 4).

    Until its slots are full the pool keeps what it is given and returns it. Then, for each image, with probability 1/2
    it returns a kept one and keeps the new one in its place, else it returns the new one.

    Every row position of the batch owns `slots` slots of its own and draws from its own seed, so that two ranks of one
    row act as one rank of two; with batch 1 this is the paper's pool. The pool therefore differs between ranks
    (`rank_local`), and a checkpoint must hold every rank's.

    Its buffers take the shape of the first batch, or of the loaded state; another shape of batch empties the pool.
    """

    rank_local = True
    images: Tensor  # (rows * slots, C, H, W), row by row
    filled: Tensor  # how many slots hold an image, the same for every row

    def __init__(self, slots: int, purpose: str) -> None:
        super().__init__()
        self.slots = slots
        self.purpose = purpose
        self.register_buffer("images", torch.empty(0))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, fresh: Float[Tensor, "B C H W"], seeds: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """Images of the present or the past in place of the fresh ones, without gradients; no pool for 0 slots."""
        fresh = fresh.detach()
        if self.slots == 0:
            return fresh
        rows, *shape = fresh.shape
        if self.images.shape != (rows * self.slots, *shape):
            self.images = fresh.new_zeros(rows * self.slots, *shape)
            self.filled = torch.zeros_like(self.filled)
        # Selected on the device, not by an if: reading `filled` would make the host wait for the device.
        full = self.filled == self.slots
        coin, place = uniform(seeds, (2,), self.purpose).unbind(dim=1)  # (B,) each
        slot = torch.where(full, (place * self.slots).long(), self.filled)
        swap = full & (coin < 0.5)
        where = torch.arange(rows, device=fresh.device) * self.slots + slot
        kept = self.images[where]
        self.images[where] = torch.where(_of_rows(swap | ~full), fresh, kept)
        self.filled = (self.filled + 1).clamp_max(self.slots)
        return torch.where(_of_rows(swap), kept, fresh)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        stored = state_dict.get(prefix + "images")
        if stored is not None:
            self.images = torch.empty_like(stored, device=self.images.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _of_rows(choice: Tensor) -> Tensor:
    return choice[:, None, None, None]  # (B,) against (B, C, H, W)
