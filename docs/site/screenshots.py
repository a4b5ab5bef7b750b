"""Pictures of the built site, by a browser without a screen.

    python docs/site/screenshots.py [build/docs [docs/pictures]]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = {"front_page": "index.html", "tutorial": "tutorials/explain.html"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser() -> str | None:
    """The first browser that is here."""
    return next((found for found in map(shutil.which, BROWSERS) if found), None)


def shoot(program: str, site: Path, folder: Path) -> list[Path]:
    """A picture of each of ``PAGES``, 1280 x 900.

    Raises:
        subprocess.CalledProcessError: if the browser fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, page in PAGES.items():
        picture = folder / f"{name}.png"
        with tempfile.TemporaryDirectory() as profile:
            command = [
                program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,900",
                f"--user-data-dir={profile}", f"--screenshot={picture.resolve()}", "--virtual-time-budget=3000",
                (site / page).resolve().as_uri(),
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=240)
        pictures.append(picture)
    return pictures


if __name__ == "__main__":
    found = browser()
    if found is None:
        sys.exit("no browser is here. On Debian: apt install chromium")
    site, folder = (*map(Path, sys.argv[1:]), *(Path("build/docs"), Path("docs/pictures"))[len(sys.argv) - 1 :])
    print(*shoot(found, site, folder), sep="\n")
