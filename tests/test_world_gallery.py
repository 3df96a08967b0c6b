from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarbench.datasets.world.gallery import CLASS_COLOURS, SCENES, SIZE_PX, columns, main, picture
from sarbench.datasets.world.materials import CLASSES

COMMITTED = Path(__file__).parent.parent / "docs" / "gallery.jpg"


def test_a_row_shows_one_scene_in_six_ways():
    images = columns(SCENES[0])
    assert list(images) == ["SAR", "optical, summer", "optical, winter", "what has changed", "classes", "rendered"]
    for image in images.values():
        assert image.shape == (SIZE_PX, SIZE_PX, 3) and image.min() >= 0.0 and image.max() <= 1.0


def test_every_class_has_a_colour_of_its_own():
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS) == len(CLASSES)


def test_the_committed_picture_is_what_the_code_draws():
    """But for the JPEG: python -m sarbench.datasets.world.gallery docs/gallery.jpg."""
    with Image.open(COMMITTED) as image:
        committed = np.asarray(image.convert("RGB")).astype(np.float64)
    drawn = picture()
    assert committed.shape == drawn.shape
    assert np.abs(committed - drawn).mean() < 6.0
    assert COMMITTED.stat().st_size < 1_500_000


def test_the_command_writes_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("sarbench.datasets.world.gallery.SCENES", (0,))
    monkeypatch.setattr("sys.argv", ["gallery", str(tmp_path / "new" / "a.png")])
    main()
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.size[0] > 6 * SIZE_PX


def test_the_command_says_how_it_is_called(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gallery"])
    with pytest.raises(SystemExit, match="gallery PATH"):
        main()
