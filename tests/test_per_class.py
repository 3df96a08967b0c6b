import numpy as np
import pytest

from sarbench.bench import per_class
from sarbench.bench.errors import ContractError
from sarbench.bench.metric import ImageBatch
from sarbench.bench.metrics.psnr import psnr
from sarbench.bench.metrics.rmse import rmse
from sarbench.bench.metrics.ssim import ssim
from sarbench.bench.per_class import Tally, similarity, squared_error


def images(seed, shape=(3, 30, 40, 3), peak=255, dtype=np.uint8):
    return ImageBatch(np.random.default_rng(seed).integers(0, peak + 1, shape).astype(dtype), peak)


def labels(shape=(3, 30, 40), classes=4, seed=7):
    return np.random.default_rng(seed).integers(0, classes, shape)


def test_sums_and_counts_are_those_of_each_class():
    tally = per_class.per_class(np.array([[1.0, 2.0], [4.0, 8.0]]), np.array([[0, 2], [2, 0]]), 4)
    assert tally.sums.tolist() == [9, 0, 6, 0]
    assert tally.counts.tolist() == [2, 0, 2, 0]
    np.testing.assert_array_equal(tally.mean(), [4.5, np.nan, 3, np.nan])


def test_unlabelled_and_undefined_pixels_take_no_part():
    tally = per_class.per_class(np.array([1.0, 2.0, np.nan, 8.0]), np.array([0, 255, 0, 1], np.uint8), 2)
    assert tally.sums.tolist() == [1, 8]
    assert tally.counts.tolist() == [1, 1]


def test_all_pixels_unlabelled_leave_every_class_without_a_value():
    tally = per_class.per_class(np.ones((2, 2)), np.full((2, 2), 255), 3)
    assert tally.counts.tolist() == [0, 0, 0]
    assert np.isnan(tally.mean()).all()


def test_a_split_is_pooled_and_never_a_mean_of_means():
    errors, classes = squared_error(images(0), images(1)), labels()
    whole = per_class.per_class(errors, classes, 4)
    parts = [per_class.per_class(e, c, 4) for e, c in zip(errors, classes, strict=True)]
    pooled = parts[0] + parts[1] + parts[2]
    np.testing.assert_allclose(pooled.sums, whole.sums, rtol=1e-12)
    assert pooled.counts.tolist() == whole.counts.tolist()
    small = Tally(np.array([9.0]), np.array([1]))
    large = Tally(np.array([99.0]), np.array([99]))
    np.testing.assert_allclose((small + large).mean(), 1.08, rtol=1e-12)


def test_with_one_class_it_is_the_metric_of_the_image():
    x, y = images(0, (1, 30, 40, 3)), images(1, (1, 30, 40, 3))
    tally = per_class.per_class(squared_error(x, y), np.zeros((1, 30, 40), int), 1)
    np.testing.assert_allclose(per_class.psnr(tally), psnr(x, y), rtol=1e-12)
    np.testing.assert_allclose(per_class.rmse(tally), rmse(x, y), rtol=1e-12)
    tally = per_class.per_class(similarity(x, y), np.zeros((1, 30, 40), int), 1)
    assert tally.counts.tolist() == [20 * 30]
    np.testing.assert_allclose(tally.mean(), ssim(x, y), rtol=1e-12)


def test_a_class_without_error_is_infinitely_good_and_one_without_pixels_has_no_value():
    x = images(0, (1, 4, 4, 3))
    y = ImageBatch(x.pixels.copy())
    y.pixels[:, 2:] ^= 1
    classes = np.repeat([0, 0, 2, 2], 4).reshape(1, 4, 4)
    tally = per_class.per_class(squared_error(x, y), classes, 3)
    np.testing.assert_array_equal(per_class.psnr(tally)[:2], [np.inf, np.nan])
    np.testing.assert_allclose(per_class.psnr(tally)[2], 20 * np.log10(255), rtol=1e-12)
    np.testing.assert_allclose(per_class.rmse(tally), [0, np.nan, 1], rtol=1e-12)


def test_the_error_of_a_class_is_seen_in_that_class_alone():
    x = images(0, (1, 40, 40, 1))
    y = ImageBatch(x.pixels.copy())
    y.pixels[:, :20] = 255 - y.pixels[:, :20]
    classes = np.repeat([0, 1], 20)[None, :, None].repeat(40, axis=2)
    structure = per_class.per_class(similarity(x, y), classes, 2).mean()
    assert structure[0] < 0 < structure[1] < 1  # windows near the edge see the other class
    assert per_class.psnr(per_class.per_class(squared_error(x, y), classes, 2))[1] == np.inf


def test_8_and_16_bits_have_one_unit():
    x, y, classes = images(0), images(1), labels()
    wide = [ImageBatch(image.pixels.astype(np.uint16) * 257, 65535) for image in (x, y)]
    for quantity in (squared_error, similarity):
        narrow = per_class.per_class(quantity(x, y), classes, 4).mean()
        np.testing.assert_allclose(per_class.per_class(quantity(*wide), classes, 4).mean(), narrow, rtol=1e-9)


@pytest.mark.parametrize(("bad", "named"), [(4, "4"), (-1, "-1"), (254, "254")])
def test_a_label_that_is_no_class_is_refused_by_its_value(bad, named):
    classes = labels()
    classes[1, 2, 3] = bad
    with pytest.raises(ContractError, match=f"labels {named} are no class: there are 4"):
        per_class.per_class(np.zeros(classes.shape), classes, 4)


def test_labels_on_another_grid_are_refused():
    with pytest.raises(ContractError, match=r"labels on the grid of the map, got \(30, 39\) and \(30, 40\)"):
        per_class.per_class(np.zeros((30, 40)), np.zeros((30, 39), int), 1)


def test_unlike_images_are_refused():
    for quantity in (squared_error, similarity):
        with pytest.raises(ContractError, match="by class compares images of one shape"):
            quantity(images(0), images(1, (3, 30, 40, 1)))


def test_the_tallies_of_images_are_pooled_to_the_scores_of_the_set():
    x, y, classes = images(0), images(1), labels(classes=3)
    classes[classes == 1] = 255
    tallies = per_class.tallies_of(x, y, classes, 4)
    assert tallies.shape == (3, 2, 2, 4)
    found = per_class.pooled(tallies, ("sea", "ice", "land", "sand"))
    assert list(found) == ["sea", "land"]
    for name, index in (("sea", 0), ("land", 2)):
        errors = per_class.per_class(squared_error(x, y), classes, 4)
        structure = per_class.per_class(similarity(x, y), classes, 4)
        assert found[name].pixels == (classes == index).sum()
        np.testing.assert_allclose(found[name].psnr, per_class.psnr(errors)[index], rtol=1e-12)
        np.testing.assert_allclose(found[name].ssim, structure.mean()[index], rtol=1e-12)
    assert list(per_class.pooled(tallies)) == ["0", "2"]


def test_tallies_of_parts_are_pooled_by_addition():
    x, y, classes = images(0), images(1), labels()
    whole = per_class.tallies_of(x, y, classes, 4)
    parts = [
        per_class.tallies_of(ImageBatch(x.pixels[i : i + 1]), ImageBatch(y.pixels[i : i + 1]), classes[i : i + 1], 4)
        for i in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_allclose(per_class.pooled(sum(parts))["1"].psnr, per_class.pooled(whole)["1"].psnr, rtol=1e-12)


def test_a_class_at_the_border_alone_has_an_error_and_no_similarity():
    classes = np.ones((1, 30, 40), np.uint8)
    classes[:, 0] = 0
    border = per_class.pooled(per_class.tallies_of(images(0, (1, 30, 40, 3)), images(1, (1, 30, 40, 3)), classes, 2))["0"]
    assert border.pixels == 40
    assert np.isfinite(border.psnr)
    assert np.isnan(border.ssim)


def test_in_the_pass_the_labels_are_an_image_of_one_band():
    x, y, classes = images(0), images(1), labels().astype(np.uint8)
    metric = per_class.by_class(4)
    assert metric.reads == ("translated", "reference", "labels")
    given = metric.rows(x, y, ImageBatch(classes[..., None]))
    np.testing.assert_array_equal(given, per_class.tallies_of(x, y, classes, 4))
    assert metric.signature != per_class.by_class(5).signature
