from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sarbench.methods.processes import brownian_bridge as bridge
from sarbench.methods.processes import consistency, ddim, ddpm

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


# --- Ancestral sampling ----------------------------------------------------------------------------------------------


def test_linear_betas_are_those_of_ho_whatever_the_number_of_steps():
    assert ddpm.linear(1e-4, 0.02, 1000)[[0, 999]].tolist() == pytest.approx([1e-4, 0.02])
    assert ddpm.linear(1e-4, 0.02, 2000)[[0, 1999]].tolist() == pytest.approx([5e-5, 0.01])
    left = [ddpm.alpha_bar(ddpm.linear(1e-4, 0.02, n))[-1].item() for n in (1000, 2000)]
    assert left[0] == pytest.approx(left[1], rel=0.1)


def test_spread_steps_reach_both_ends_and_are_as_many_as_asked():
    assert ddpm.spread_steps(1000, 4) == [999, 666, 333, 0]
    steps = ddpm.spread_steps(2000, 250)
    assert (len(steps), steps[0], steps[-1]) == (250, 1999, 0)
    assert {a - b for a, b in pairwise(steps)} == {8, 9}
    for count in (1, 1001):
        with pytest.raises(ValueError, match="2 to 1000"):
            ddpm.spread_steps(T, count)


def test_the_posterior_is_the_one_worked_by_hand():
    """From abar 0.25 to 0.5: kept = 0.5, so weights sqrt(0.5) 0.5 / 0.75 and sqrt(0.5) 0.5 / 0.75, variance 0.5."""
    mean, variance = ddpm.posterior(torch.tensor([3.0]), torch.tensor([1.0]), 0.25, 0.5)
    assert mean.item() == pytest.approx(0.5**0.5 * 0.5 / 0.75 * (1.0 + 3.0))
    assert variance == pytest.approx(0.5)
    _, smaller = ddpm.posterior(torch.tensor([3.0]), torch.tensor([1.0]), 0.25, 0.5, "small")
    assert smaller == pytest.approx(0.5 * 0.5 / 0.75)
    mean, _ = ddpm.posterior(torch.tensor([3.0]), torch.tensor([1.0]), 0.25, 1.0)
    assert mean.item() == pytest.approx(1.0)


def test_ancestral_sampling_clips_the_image_and_ends_at_it_without_noise():
    y, asked = torch.full((2, 1, 3, 3), 0.5), []

    def predict(z_t: torch.Tensor, t: int) -> torch.Tensor:
        return (z_t - ABAR[t].item() ** 0.5 * 3 * y) / (1 - ABAR[t].item()) ** 0.5  # says 1.5 everywhere

    def noise(t: int) -> torch.Tensor:
        asked.append(t)
        return torch.randn_like(y)

    steps = ddpm.spread_steps(T, 5)
    out = ddpm.sample(predict, torch.randn_like(y), ABAR.tolist(), steps, noise)
    torch.testing.assert_close(out, torch.ones_like(y))
    assert asked == steps[:-1]


def test_ancestral_sampling_carries_noise_to_a_gaussian_of_unit_spread_clipped_rarely():
    """For data of N(m, s^2) with small s the ideal noise is known."""
    m, s = 0.2, 0.1
    generator = torch.Generator().manual_seed(0)

    def predict(z_t: torch.Tensor, t: int) -> torch.Tensor:
        a = ABAR[t].item()
        return (1 - a) ** 0.5 * (z_t - a**0.5 * m) / (a * s**2 + 1 - a)

    def noise(t: int) -> torch.Tensor:
        return torch.randn(4000, 1, dtype=torch.float64, generator=generator)

    out = ddpm.sample(predict, noise(0), ABAR.tolist(), ddpm.spread_steps(T, 250), noise)
    assert out.mean().item() == pytest.approx(m, abs=0.02)
    assert out.std().item() == pytest.approx(s, rel=0.15)


# --- The Brownian bridge ---------------------------------------------------------------------------------------------


def test_the_bridge_goes_from_almost_the_target_to_almost_the_source():
    m = bridge.shares(T)
    assert m[[0, -1]].tolist() == pytest.approx([0.001, 0.999])
    assert (m.diff() > 0).all()
    y, x, eps = torch.full((2, 1, 1, 1), 10.0), torch.full((2, 1, 1, 1), 20.0), torch.ones(2, 1, 1, 1)
    z = bridge.noised(y, x, eps, torch.tensor([0.5, 0.1]), s=2.0)
    assert z.flatten().tolist() == pytest.approx([15.0 + 1.0, 11.0 + 0.36**0.5])  # variances 2 * 2 * 0.25 and 2 * 2 * 0.09


@pytest.mark.parametrize(("eta", "s"), [(1.0, 1.0), (0.3, 1.0), (0.0, 1.0), (1.0, 2.0)])
def test_a_step_of_the_bridge_has_the_level_that_the_process_has_there(eta, s):
    """Mean and variance after a step from m = 0.8 to 0.3 are those of jumping to 0.3, whatever eta is."""
    generator = torch.Generator().manual_seed(0)
    eps, noise = torch.randn(2, 40_000, 1, dtype=torch.float64, generator=generator)
    y, x = torch.full_like(eps, 1.0), torch.full_like(eps, -2.0)
    z = bridge.step(bridge.noised(y, x, eps, 0.8, s), y, x, noise, (0.8, 0.3), s, eta)
    assert z.mean().item() == pytest.approx(0.7 * 1.0 + 0.3 * -2.0, abs=0.02)
    assert z.var().item() == pytest.approx(bridge.variance(0.3, s), rel=0.03)


def test_at_eta_one_a_step_is_the_posterior_of_the_bridge():
    """How strongly z_0.3 goes with z_0.8 follows from the covariance of the bridge, 2 s m' (1 - m) for m' < m."""
    generator = torch.Generator().manual_seed(0)
    eps, noise = torch.randn(2, 40_000, dtype=torch.float64, generator=generator)
    zero = torch.zeros_like(eps)
    z_t = bridge.noised(zero, zero, eps, 0.8, 1.0)
    z_s = bridge.step(z_t, zero, zero, noise, (0.8, 0.3), 1.0)
    assert (z_t * z_s).mean().item() == pytest.approx(2 * 0.3 * (1 - 0.8), rel=0.05)


@pytest.mark.parametrize("steps", [2, 7, 200])
def test_the_bridge_ends_at_the_true_target_if_the_network_knows_it(steps):
    y, x = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    visited, asked = ddpm.spread_steps(T, steps), []

    def noise(t: int) -> torch.Tensor:
        asked.append(t)
        return torch.randn_like(x)

    out = bridge.sample(lambda z, t: z - y, x, x, visited, noise, T=T, s=1.0)
    torch.testing.assert_close(out, y)
    assert asked == visited[:-1]
    clipped = bridge.sample(lambda z, t: z - 5 * y, x, x, visited, noise, T=T, s=1.0, clip=True)
    torch.testing.assert_close(clipped, (5 * y).clamp(-1, 1))


def test_the_network_of_the_bridge_sees_the_level_that_the_process_has():
    y, x, eps = torch.zeros(1, 1, 300, 300), torch.full((1, 1, 300, 300), 0.5), torch.randn(1, 1, 300, 300)
    m, seen = bridge.shares(T), []

    def predict(z: torch.Tensor, t: int) -> torch.Tensor:
        seen.append(t)
        assert z.mean().item() == pytest.approx(0.5 * m[t].item(), abs=0.02)
        assert z.var().item() == pytest.approx(bridge.variance(m[t].item(), 1.0), rel=0.05)
        return (z - y).bfloat16()  # as under autocast; the walk stays in float32

    start = bridge.noised(y, x, eps, m[666].item(), 1.0)
    out = bridge.sample(predict, start, x, [666, 333, 100, 0], lambda t: torch.randn_like(x), T=T, s=1.0)
    assert seen == [666, 333, 100, 0]
    assert out.dtype == torch.float32


# --- Consistency -----------------------------------------------------------------------------------------------------


def test_the_noise_levels_are_those_of_karras():
    sigmas = consistency.levels(11, 0.002, 80.0)
    assert sigmas[[0, 10]].tolist() == pytest.approx([0.002, 80.0])
    assert sigmas[5].item() == pytest.approx(((0.002 ** (1 / 7) + 80.0 ** (1 / 7)) / 2) ** 7)
    assert (sigmas.log().diff() > 0).all()


def test_pairs_are_drawn_as_often_as_the_log_normal_falls_between_their_levels():
    sigmas = consistency.levels(6, 0.002, 80.0)
    drawn = consistency.random_pairs(torch.arange(4000), sigmas, "pair")
    normal = torch.distributions.Normal(-1.1, 2.0)
    share = normal.cdf(sigmas.log()).diff()
    found = torch.bincount(drawn, minlength=5) / 4000
    torch.testing.assert_close(found.double(), share / share.sum(), atol=0.04, rtol=0)
    assert torch.equal(consistency.random_pairs(torch.tensor([7, 3]), sigmas, "pair"), drawn[[7, 3]])


def test_at_the_least_noise_the_consistency_function_is_the_identity_whatever_the_network_says():
    z = torch.randn(2, 1, 4, 4)
    out = consistency.consistent(lambda z, sigma: torch.full_like(z, 1e3), z, torch.full((2,), 0.002), 0.002)
    assert torch.equal(out, z)


def test_at_much_noise_the_consistency_function_is_the_network_scaled_to_the_data():
    z, seen = 80.0 * torch.randn(1, 1, 200, 200), []

    def network(z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(z.std().item())
        return torch.ones_like(z)

    out = consistency.consistent(network, z, torch.tensor([80.0]), 0.002)
    assert seen == pytest.approx([1.0], abs=0.02)
    assert out.mean().item() == pytest.approx(0.5, abs=1e-2)
    assert out.std().item() < 0.01


def test_consistency_sampling_starts_from_noise_alone_and_noises_again_at_every_level():
    y, seen = torch.full((1, 1, 100, 100), 0.3), []

    def estimate(z: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append((z.mean().item(), z.std().item()))
        return 10 * y

    out = consistency.sample(estimate, lambda i: torch.randn_like(y), (80.0, 10.0, 1.0), 0.002)
    assert torch.equal(out, torch.ones_like(y))  # clipped
    means, stds = zip(*seen, strict=True)
    assert stds == pytest.approx((80.0, 10.0, 1.0), rel=0.05)
    assert abs(means[0]) < 4.0
    assert means[2] == pytest.approx(1.0, abs=0.05)
