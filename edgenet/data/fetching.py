"""Fetching files of data sets, with PyG's downloader."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch_geometric.data import download_url


def fetch(urls: Sequence[str], folder: Path) -> str | None:
    """Fetches all of ``urls`` into ``folder`` with PyG's downloader, all or none. Returns what went wrong, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".download-"))
    except OSError as error:
        return f"not tried, {folder} cannot be written to: {error.strerror or error}"
    try:
        for url in urls:
            try:
                download_url(url, str(temporary), log=False)
            except Exception as error:  # urllib, ssl and fsspec each raise their own
                return f"failed at {url}: {type(error).__name__}: {error}"
        for file in temporary.iterdir():
            os.replace(file, folder / file.name)
        return None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
