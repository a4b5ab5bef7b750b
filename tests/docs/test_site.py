"""The site builds without a warning, and a browser shows it."""

import subprocess
import sys
from pathlib import Path

import pytest
import screenshots

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not here: pip install -e '.[docs]'")
    pytest.importorskip("furo", reason="furo is not here: pip install -e '.[docs]'")
    pytest.importorskip("myst_parser", reason="myst-parser is not here: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site):
    assert (site / "index.html").is_file()
    page = (site / "api" / "edgenet.nn.html").read_text(encoding="utf-8")
    assert 'id="edgenet.nn.LSTM"' in page and "&gt;&gt;&gt;" in page


@pytest.mark.slow
def test_a_browser_shows_the_front_page_and_a_tutorial(site, tmp_path):
    from matplotlib.image import imread

    program = screenshots.browser()
    if program is None:
        pytest.skip("no browser is here. On Debian: apt install chromium")
    for picture in screenshots.shoot(program, site, tmp_path):
        pixels = imread(picture)[..., :3]
        assert pixels.shape == (900, 1280, 3)
        assert (pixels.min(2) < 0.5).mean() > 0.01, f"{picture.name} shows no letters"
        assert pixels.reshape(-1, 3).std(0).min() > 0.05, f"{picture.name} is blank"


def test_pictures_of_the_site_are_committed():
    for name in screenshots.PAGES:
        picture = ROOT / "docs" / "pictures" / f"{name}.png"
        assert picture.is_file() and picture.stat().st_size < 300_000, picture
