from __future__ import annotations

import pytest
import torch

from sarbench.methods.processes import ddim, ddpm

T = 1000
ABAR = ddpm.alpha_bar(ddpm.scaled_linear(0.00085, 0.012, T))


def test_the_levels_of_stable_diffusion_are_the_published_ones():
    assert ABAR.shape == (T,)
    assert ABAR[[0, 500, 999]].tolist() == pytest.approx([0.99915, 0.2763, 0.00466], rel=1e-3)
    assert (ABAR.diff() < 0).all()


def test_the_betas_are_scaled_linear_in_their_roots():
    betas = ddpm.scaled_linear(0.01, 0.09, 3)
    assert betas.tolist() == pytest.approx([0.01, 0.04, 0.09])
    assert ddpm.alpha_bar(betas).tolist() == pytest.approx([0.99, 0.99 * 0.96, 0.99 * 0.96 * 0.91])


def test_noised_mixes_image_and_noise_by_the_level_of_each_row():
    z, eps = torch.full((2, 1, 1, 1), 10.0), torch.ones(2, 1, 1, 1)
    mixed = ddpm.noised(z, eps, torch.tensor([0.36, 1.0]))
    assert mixed.flatten().tolist() == pytest.approx([6.0 + 0.8, 10.0])
    assert torch.equal(mixed[:1], ddpm.noised(z[:1], eps[:1], 0.36))


def test_a_standard_normal_image_stays_one_at_any_level():
    z, eps = torch.randn(2, 1, 4, 100, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert ddpm.noised(z, eps, 0.3).var().item() == pytest.approx(1.0, abs=0.03)


def test_clean_undoes_noised():
    z, eps = torch.randn(2, 3, 4, 5, 5, dtype=torch.float64)
    abar = ABAR[[0, 500, 999]]
    torch.testing.assert_close(ddpm.clean(ddpm.noised(z, eps, abar), eps, abar), z)


def test_the_velocity_says_the_noise():
    z, eps = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(1)).double()
    abar = ABAR[[0, 500, 999]].double()
    root, rest = (level.sqrt()[:, None, None, None] for level in (abar, 1 - abar))
    found = ddpm.noise_of_velocity(ddpm.noised(z, eps, abar), root * eps - rest * z, abar)
    torch.testing.assert_close(found, eps)


def test_a_network_that_says_nothing_of_the_velocity_leaves_the_range_of_images_alone():
    z_t = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1)).double()
    abar = ABAR[[0, 500, 999]].double()
    clean = ddpm.clean(z_t, ddpm.noise_of_velocity(z_t, torch.zeros_like(z_t), abar), abar)
    torch.testing.assert_close(clean, abar.sqrt()[:, None, None, None] * z_t)  # never larger than z_t


def test_random_steps_are_uniform_over_all_steps_and_belong_to_the_row():
    steps = ddpm.random_steps(torch.arange(4000), 10, "t")
    counts = torch.bincount(steps, minlength=10)
    assert len(counts) == 10
    assert ((counts - 400).abs() < 100).all()  # five standard deviations
    assert torch.equal(ddpm.random_steps(torch.tensor([7, 3]), 10, "t"), steps[[7, 3]])


def test_leading_spacing_is_that_of_the_paper():
    assert ddim.leading_steps(T, 50) == list(range(981, 0, -20))
    assert ddim.leading_steps(T, 1) == [1]
    assert ddim.leading_steps(T, 1000)[0] == 999  # 1000 would be outside
    assert len(ddim.leading_steps(T, 3)) == 3
    for steps in (0, 1001):
        with pytest.raises(ValueError, match="1 to 1000"):
            ddim.leading_steps(T, steps)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_a_perfect_noise_predictor_returns_the_clean_latent(steps):
    z = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    eps = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    visited = ddim.leading_steps(T, steps)
    start = ddpm.noised(z, eps, ABAR[visited[0]].item())
    out = ddim.sample(lambda z_t, t: eps, start, ABAR.tolist(), visited)
    torch.testing.assert_close(out, z)
    almost = ddim.sample(lambda z_t, t: eps, start, ABAR.tolist(), visited, abar_end=ABAR[0].item())
    torch.testing.assert_close(almost, ddpm.noised(z, eps, ABAR[0].item()))


def test_the_predictor_sees_every_step_once_with_the_noise_of_that_step():
    z, eps, seen = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), []

    def predict(z_t: torch.Tensor, t: int) -> torch.Tensor:
        seen.append(t)
        torch.testing.assert_close(z_t, ddpm.noised(z, eps, ABAR[t].item()))
        return eps.bfloat16()  # as under autocast; the walk stays in float32

    visited = ddim.leading_steps(T, 10)
    out = ddim.sample(predict, ddpm.noised(z, eps, ABAR[visited[0]].item()), ABAR.tolist(), visited)
    assert seen == visited
    assert out.dtype == torch.float32


def test_the_ideal_predictor_of_a_gaussian_carries_noise_to_that_gaussian():
    """For data of N(m, s^2) the expected noise is known; the walk must carry N(0, 1) there."""
    m, s = 0.5, 0.2

    def predict(z_t: torch.Tensor, t: int) -> torch.Tensor:
        a = ABAR[t].item()
        return (1 - a) ** 0.5 * (z_t - a**0.5 * m) / (a * s**2 + 1 - a)

    start = torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = ddim.sample(predict, start, ABAR.tolist(), ddim.leading_steps(T, 500))
    assert out.mean().item() == pytest.approx(m, abs=0.03)
    assert out.std().item() == pytest.approx(s, rel=0.05)


def test_one_walk_equals_that_of_diffusers():
    """The scheduler of Stable Diffusion, as its folder configures it."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, timestep_spacing="leading",
    )  # fmt: skip
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == ddim.leading_steps(T, 50)
    torch.testing.assert_close(scheduler.alphas_cumprod, ABAR.float(), atol=1e-6, rtol=1e-4)

    def predict(z_t: torch.Tensor, t: int) -> torch.Tensor:
        return torch.sin(3 * z_t + t)

    start = z = torch.randn(1, 4, 8, 8)
    for t in scheduler.timesteps:
        z = scheduler.step(predict(z, int(t)), t, z, eta=0.0).prev_sample
    ours = ddim.sample(predict, start, ABAR.tolist(), ddim.leading_steps(T, 50), abar_end=ABAR[0].item())
    torch.testing.assert_close(ours, z, atol=1e-3, rtol=1e-3)
