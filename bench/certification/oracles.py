"""The independent implementations of metrics of a pair: which function of which package, and how it differs from ours."""

from __future__ import annotations

from sarbench.bench.certification.packages import (
    Oracle,
    half_levels,
    levels,
    mse_of_skimage,
    piq,
    pyiqa,
    rmse_of_sewar,
    several_bands,
    sewar,
    skimage,
    stretched,
    torchmetrics,
    variation,
)

FLAT_WINDOW = "its window is flat (11x11 px), not Gaussian"
LOCAL = "it averages correlations in windows of 8x8 px, where a flat window counts as 0, in place of one correlation an image"
CLIPS = "a negative contrast-structure term counts as 0"
ZERO_PAD = "where a side is odd it pads the coarser scales with zeros"
EPSILON = "it adds 1e-8 to the mean squared error, so that an identical pair has 80 dB"
PAN_SHARPENING = "it takes pan-sharpening's h / l = 1 / 4, and divides by a black band all the same"
GAUSS = "gaussian_weights=True, sigma=1.5, use_sample_covariance=False"
_GAUSS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
_SSIM, _MS_SSIM = "structural_similarity_index_measure", "multiscale_structural_similarity_index_measure"
_PSNR, _SCC = "peak_signal_noise_ratio", "spatial_correlation_coefficient"
_ERGAS, _SAM = "error_relative_global_dimensionless_synthesis", "spectral_angle_mapper"

OF_PAIRS: tuple[Oracle, ...] = (
    Oracle("torchmetrics", f"{_PSNR}(data_range=1)", "psnr@torchmetrics", torchmetrics(_PSNR, data_range=1.0)),
    Oracle("scikit-image", f"{_PSNR}(data_range=peak)", "psnr", skimage(_PSNR)),
    Oracle("sewar", "psnr(MAX=peak)", "psnr", sewar("psnr", peak=True)),
    Oracle("piq", "psnr", "psnr@piq", piq("psnr"), EPSILON),
    Oracle("pyiqa", "PSNR", "psnr@pyiqa", pyiqa("psnr_arch", "PSNR"), EPSILON),
    Oracle(
        "torchmetrics",
        f"{_PSNR}(data_range=1) of clamp(v + 0.5)",
        "psnr@cdiffset",
        torchmetrics(_PSNR, stretched, data_range=1.0),
        "C-DiffSET clips the darkest and the brightest quarter of the range, and doubles the contrast of the rest",
    ),
    Oracle("sewar", "rmse * 255 / peak", "rmse", rmse_of_sewar),
    Oracle("scikit-image", "sqrt(mean_squared_error) * 255 / peak", "rmse", mse_of_skimage),
    Oracle(
        "scikit-image", f"structural_similarity({GAUSS})", "ssim", skimage("structural_similarity", channel_axis=2, **_GAUSS)
    ),
    Oracle("sewar", "ssim(MAX=peak, Gaussian of sigma 1.5)", "ssim", sewar("ssim", peak=True, gaussian=True)),
    Oracle("piq", "ssim(downsample=False)", "ssim", piq("ssim", downsample=False)),
    Oracle(
        "torchmetrics",
        f"{_SSIM}(data_range=1)",
        "ssim@torchmetrics",
        torchmetrics(_SSIM, data_range=1.0),
        "it counts the border too, of which it reflects the image",
    ),
    Oracle(
        "torchmetrics",
        f"{_SSIM} as it comes (data_range=None)",
        "ssim",
        torchmetrics(_SSIM),
        "it takes the range from the values of the batch, and counts a reflected border",
        follows=False,
    ),
    Oracle(
        "piq",
        "ssim as it comes (downsample=True)",
        "ssim@piq",
        piq("ssim"),
        "it shrinks images of 384 px and more by a whole factor first",
    ),
    Oracle(
        "pyiqa",
        "SSIM as it comes",
        "ssim@pyiqa",
        pyiqa("ssim_arch", "SSIM"),
        "it takes the rounded luma of RGB, and " + CLIPS,
    ),
    Oracle(
        "pyiqa",
        "SSIM(test_y_channel=False)",
        "ssim",
        pyiqa("ssim_arch", "SSIM", test_y_channel=False),
        CLIPS + ", and values are rounded to 8 bits first",
        follows=False,
    ),
    Oracle(
        "scikit-image",
        "structural_similarity as it comes (data_range=peak)",
        "ssim@skimage",
        skimage("structural_similarity", channel_axis=2),
        "its window is flat (7x7 px), and its covariances are those of samples",
    ),
    Oracle("sewar", "ssim(MAX=peak)", "ssim", sewar("ssim", peak=True), FLAT_WINDOW, follows=False),
    Oracle(
        "torchmetrics",
        f"{_SSIM}(data_range=1) of clamp(v + 0.5)",
        "ssim@cdiffset",
        torchmetrics(_SSIM, stretched, data_range=1.0),
        "C-DiffSET clips the darkest and the brightest quarter of the range",
    ),
    Oracle(
        "piq",
        "multi_scale_ssim",
        "ms_ssim@piq",
        piq("multi_scale_ssim"),
        "where a side is odd it repeats the first row and column before it halves",
    ),
    Oracle(
        "torchmetrics",
        f"{_MS_SSIM}(data_range=1)",
        "ms_ssim@torchmetrics",
        torchmetrics(_MS_SSIM, data_range=1.0),
        "it averages over the bands before the product, and counts a reflected border at the last scale",
    ),
    Oracle(
        "pyiqa",
        "MS_SSIM as it comes",
        "ms_ssim",
        pyiqa("ssim_arch", "MS_SSIM"),
        f"it takes the rounded luma of RGB; {CLIPS}; {ZERO_PAD}",
        follows=False,
    ),
    Oracle(
        "sewar",
        "msssim(MAX=peak)",
        "ms_ssim",
        sewar("msssim", peak=True),
        "it halves by a filter that averages over two neighbouring bands as well, and its bands come before the product",
        follows=False,
    ),
    *(
        oracle
        for name, why in (("scc", LOCAL), ("scc_local", ""))
        for oracle in (
            Oracle("torchmetrics", f"{_SCC} of levels", f"{name}@torchmetrics", torchmetrics(_SCC, levels), why),
            Oracle("sewar", "scc", f"{name}@sewar", sewar("scc"), why),
            Oracle(
                "torchmetrics",
                f"{_SCC} of clamp(v + 0.5), in half levels",
                f"{name}@cdiffset",
                torchmetrics(_SCC, half_levels),
                "C-DiffSET clips the darkest and the brightest quarter of the range" + (f"; {why}" if why else ""),
            ),
        )
    ),
    Oracle(
        "torchmetrics",
        f"{_SCC} of [0, 1]",
        "scc_local",
        torchmetrics(_SCC),
        "it computes in float32, and takes what rounding leaves in flat areas for structure",
        follows=False,
    ),
    Oracle(
        "torchmetrics",
        f"{_SCC} of clamp(v + 0.5)",
        "scc_local@cdiffset",
        torchmetrics(_SCC, stretched),
        "it computes in float32, and takes what rounding leaves in flat areas for structure: C-DiffSET's own numbers hold that",
        follows=False,
    ),
    Oracle(
        "torchmetrics",
        "total_variation",
        "total_variation@torchmetrics",
        variation("torchmetrics"),
        "it sums the differences, of values in [0, 1], and so grows with the image",
    ),
    Oracle("piq", "total_variation(norm_type=l1)", "total_variation@torchmetrics", variation("piq", norm_type="l1")),
    Oracle(
        "piq",
        "total_variation as it comes (norm_type=l2)",
        "total_variation@piq",
        variation("piq"),
        "it takes the root of the sum of squares, of values in [0, 1], and so grows with the image",
    ),
    Oracle(
        "torchmetrics",
        _SAM,
        "sam@torchmetrics",
        torchmetrics(_SAM, levels),
        "radians; undefined where a pixel is black",
        takes=several_bands,
    ),
    Oracle("sewar", "sam", "sam@sewar", sewar("sam"), "radians; black pixels are left out", takes=several_bands),
    *(
        Oracle(
            package,
            call,
            f"ergas@{package}",
            of,
            PAN_SHARPENING,
        )
        for package, call, of in (
            ("torchmetrics", _ERGAS, torchmetrics(_ERGAS, levels)),
            ("sewar", "ergas", sewar("ergas")),
        )
    ),
)
