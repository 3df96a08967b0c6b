"""A report in a real browser: Chromium without a head, driven as a reader would: by mouse, by keyboard, on a phone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarbench.bench.images import write_image
from sarbench.bench.records import Loaded
from sarbench.bench.report.page import render

selenium = pytest.importorskip("selenium", reason="the tests in a browser need selenium: pip install 'sarbench[test]'")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no browser here: apt-get install chromium chromium-driver"),
]
SLUG = "synthetic.tiny"
HOSTILE = """</script><script>alert(1)</script>"'><img src=x onerror=alert(1)>"""
WIDE_PX, PHONE_PX = (1280, 900), (360, 740)
SSIM = {"pix2pix": [0.50, 0.62, 0.41, 0.55], "cut": [0.40, 0.30, 0.52, 0.45], "gcgan": [0.30, 0.31, 0.32, 0.33]}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four methods, one of them with a hostile name, a floor and a honeypot, with pictures."""
    from tests.conftest import _run

    made = [_run(name, values={"ssim": values, "psnr": 20 + k}) for k, (name, values) in enumerate(SSIM.items())]
    made.append(_run("cut", variant=HOSTILE, card={"title": HOSTILE}, values={"ssim": 0.2, "psnr": "not measured here"}))
    made += [_run("identity", "floor", values={"ssim": 0.1}), _run("oracle_blur", "honeypot", values={"ssim": 0.9})]
    items = [
        Loaded(run.record.model_copy(update={"rows_hash": f"{i:064d}"}), Path("unused"), run.rows) for i, run in enumerate(made)
    ]
    folder, rng = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    for sample_id in items[0].rows["id"]:
        places = [f"reference/{part}" for part in ("source", "target")] + [f"{i.record.label}/0/translated" for i in items]
        for place in places:
            write_image(folder / SLUG / place / f"{sample_id}.png", rng.integers(0, 256, (32, 32, 3), np.uint8))
    log = folder / SLUG / "pix2pix" / "0" / "log.jsonl"
    log.write_text("".join(json.dumps({"images": i, "losses": {"G": 1 / i}}) + "\n" for i in range(1, 40)))
    path = folder / "report.html"
    path.write_text(render(SLUG, items, folder, 24))
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    words = ["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    words += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]
    words += ["--no-sandbox"] * (os.geteuid() == 0)  # Chromium has no sandbox for root
    for word in words:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.execute_cdp_cmd("Network.enable", {})
    yield driver
    driver.quit()


def size(driver: webdriver.Chrome, px: tuple[int, int], *, phone: bool = False) -> None:
    metrics = {"width": px[0], "height": px[1], "deviceScaleFactor": 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def scheme(driver: webdriver.Chrome, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def reader(chromium: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    """The page as it opens on a wide screen, in light mode."""
    size(chromium, WIDE_PX)
    scheme(chromium, "light")
    chromium.get_log("browser")
    chromium.get_log("performance")
    chromium.get(page.as_uri())
    return chromium


def one(driver: webdriver.Chrome, selector: str) -> Any:
    return driver.find_element(By.CSS_SELECTOR, selector)


def names(driver: webdriver.Chrome, selector: str = "#board .board tr[data-entry]:not(.off) th") -> list[str]:
    """The first words of the rows that are seen, from top to bottom."""
    code = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.dataset.v)"
    return [str(name)[:12] for name in driver.execute_script(code, selector)]


def shown_side(driver: webdriver.Chrome) -> str:
    return str(one(driver, "#over").value_of_css_property("clip-path"))


METHODS = ["pix2pix", "cut", "gcgan", "cut </script"]
OTHERS = ["identity", "oracle_blur"]


def test_it_opens_without_a_word_on_the_console_and_asks_the_network_for_nothing(reader: webdriver.Chrome) -> None:
    assert one(reader, "#tiles .tile").is_displayed()
    assert reader.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in reader.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_hostile_names_are_shown_and_run_nothing(reader: webdriver.Chrome) -> None:
    assert reader.execute_script("return document.images.length && [...document.images].every(i => i.src.startsWith('data:'))")
    assert "<img src=x onerror=alert(1)>" in one(reader, "#board").text
    assert reader.execute_script("return document.scripts.length") == 3


def test_a_column_is_sorted_by_a_click_and_turned_by_another(reader: webdriver.Chrome) -> None:
    assert names(reader) == METHODS + OTHERS
    head = reader.find_elements(By.CSS_SELECTOR, "#board .board thead th")[2]
    assert head.text.startswith("psnr")
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(reader) == ["gcgan", "cut", "pix2pix", "cut </script", *OTHERS], "what was not measured comes last"
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(reader) == ["pix2pix", "cut", "gcgan", "cut </script", *OTHERS]
    assert one(reader, "#sorted").get_attribute("textContent") == "Sorted by psnr, ascending"


def test_a_column_is_sorted_by_keyboard_and_the_focus_is_seen(reader: webdriver.Chrome) -> None:
    button = reader.find_elements(By.CSS_SELECTOR, "#board .board thead button")[0]
    reader.execute_script("arguments[0].focus()", one(reader, "#board .scroll"))
    reader.switch_to.active_element.send_keys(Keys.TAB)
    assert reader.switch_to.active_element == button
    assert button.value_of_css_property("outline-style") == "solid"
    button.send_keys(Keys.ENTER)
    assert names(reader)[:4] == ["cut", "cut </script", "gcgan", "pix2pix"]


def test_the_filter_takes_words_and_roles_and_holds_for_the_whole_page(reader: webdriver.Chrome) -> None:
    one(reader, "#words").send_keys("cut, identity")
    assert names(reader) == ["cut", "cut </script", "identity"]
    assert one(reader, "#count").text == "3 of 6 shown"
    tiles = [tile.text.splitlines()[0] for tile in reader.find_elements(By.CSS_SELECTOR, "#tiles .tile:not(.off)")]
    assert [tile[:8] for tile in tiles] == ["source", "target", "cut", "cut </sc", "identity"]
    one(reader, "input[name=role][value=floor]").send_keys(Keys.SPACE)
    assert names(reader) == ["cut", "cut </script"]


def test_the_slider_moves_by_keyboard_and_by_dragging(reader: webdriver.Chrome) -> None:
    slider = one(reader, "#swipe")
    assert "50%" in shown_side(reader)
    slider.send_keys(Keys.ARROW_RIGHT * 10)
    assert "40%" in shown_side(reader)
    assert slider.get_attribute("aria-valuetext") == "60 % pix2pix, 40 % target"
    stage = one(reader, "#stage")
    width = stage.size["width"]
    ActionChains(reader).move_to_element(stage).click_and_hold().move_by_offset(-width // 4, 0).release().perform()
    assert 20 <= int(slider.get_attribute("value")) <= 30


def test_a_small_picture_is_taken_into_the_large_one(reader: webdriver.Chrome) -> None:
    before = one(reader, "#over").get_attribute("src")
    tile = one(reader, "#tiles .tile[data-entry='2']")
    tile.send_keys(Keys.ENTER)
    assert tile.get_attribute("aria-pressed") == "true"
    assert one(reader, "#over").get_attribute("src") != before
    assert one(reader, "#over").get_attribute("alt").startswith("gcgan, sample scene_")


def test_samples_come_worst_best_or_most_disputed_first(reader: webdriver.Chrome) -> None:
    order = Select(one(reader, "#order"))
    mean = np.mean([*SSIM.values(), [0.2] * 4], axis=0)
    first = {}
    for by in ("worst", "best", "disputed"):
        order.select_by_value(by)
        first[by] = one(reader, "#chosen").text
    spread = np.std([*SSIM.values(), [0.2] * 4], axis=0)
    for by, k in (("worst", mean.argmin()), ("best", mean.argmax()), ("disputed", spread.argmax())):
        assert first[by].startswith(f"Sample 1 of 4: scene_{k // 2}/tile_{k}")
    one(reader, "#next").click()
    assert one(reader, "#chosen").text.startswith("Sample 2 of 4")


def test_error_maps_replace_the_images_and_bring_their_scale(reader: webdriver.Chrome) -> None:
    assert not one(reader, "#scale").is_displayed()
    one(reader, "input[name=show][value=images]").send_keys(Keys.ARROW_RIGHT)
    assert one(reader, "#scale").is_displayed()
    assert len(reader.find_elements(By.CSS_SELECTOR, "#tiles img.error")) == 6


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(reader: webdriver.Chrome, mode: str) -> None:
    scheme(reader, mode)
    ground = _rgb(one(reader, "body").value_of_css_property("background-color"))
    assert (_luminance(ground) < 0.1) == (mode == "dark")
    for selector in ("body", ".lead", "nav a", "#board .key a", ".margin", "abbr", ".mark", "thead button"):
        colour = _rgb(one(reader, selector).value_of_css_property("color"))
        assert _contrast(colour, ground) >= 4.5, selector


def test_a_phone_never_scrolls_sideways(reader: webdriver.Chrome) -> None:
    size(reader, PHONE_PX, phone=True)
    reader.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert reader.execute_script("return document.documentElement.scrollWidth") <= PHONE_PX[0]
    assert one(reader, "#stage").size["width"] <= PHONE_PX[0]
    assert one(reader, "#board .scroll").size["width"] <= PHONE_PX[0]


def test_without_javascript_there_is_a_sorted_table(reader: webdriver.Chrome) -> None:
    reader.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        reader.refresh()
        assert one(reader, "#board .board").is_displayed()
        assert not one(reader, "#filter").is_displayed()
        assert one(reader, "noscript").text.startswith("The sample browser needs JavaScript")
        found = [row.text for row in reader.find_elements(By.CSS_SELECTOR, "#board .board tr[data-entry] th")]
        assert [name[:5] for name in found[:3]] == ["pix2p", "cut", "gcgan"]
    finally:
        reader.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _rgb(text: str) -> tuple[float, float, float]:
    red, green, blue = (float(part) / 255 for part in text.partition("(")[2].rstrip(")").split(",")[:3])
    return red, green, blue


def _luminance(rgb: tuple[float, float, float]) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _contrast(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """The contrast ratio of WCAG 2; 4.5 is its bound for text."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)
