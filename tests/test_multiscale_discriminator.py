from __future__ import annotations

import torch

from sarbench.methods.networks.multiscale_discriminator import MultiscaleDiscriminator


def test_each_scale_judges_half_the_side_of_the_one_before():
    D = MultiscaleDiscriminator(3, scales=3, width=2, layers=2, norm="none")
    logits = D(torch.randn(2, 3, 64, 64))
    alone = [D.scales[i](torch.randn(2, 3, 64 // 2**i, 64 // 2**i)).shape for i in range(3)]
    assert [scale.shape for scale in logits] == alone


def test_a_flat_image_stays_flat_at_every_scale_up_to_its_border():
    seen = []
    D = MultiscaleDiscriminator(1, scales=3, width=2, layers=1, norm="none")
    for scale in D.scales:
        scale.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    D(torch.full((1, 1, 33, 40), 0.75))
    assert [x.shape[2:] for x in seen] == [(33, 40), (17, 20), (9, 10)]
    assert all(torch.equal(x, torch.full_like(x, 0.75)) for x in seen)


def test_the_finest_scale_is_the_patch_discriminator_itself():
    D = MultiscaleDiscriminator(4, scales=2, width=2, layers=1)
    x, y = torch.randn(1, 1, 32, 32), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(D(x, y)[0], D.scales[0](x, y), rtol=0, atol=0)
    assert len(D(x, y)) == 2
