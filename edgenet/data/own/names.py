"""Which names are those of a user's own files."""

from __future__ import annotations

from pathlib import Path

TABLE_FILES, ARRAY_FILES = (".csv", ".tsv"), (".npz", ".pt", ".pth")
SUFFIXES = (*TABLE_FILES, *ARRAY_FILES, ".graphml")
PICKLES = (".pkl", ".pickle", ".gpickle", ".p")


def is_file_name(name: str) -> bool:
    """Whether a name is that of a user's own data: of a kind of file that is read or refused, or a folder of tables."""
    path, suffix = Path(name), Path(name).suffix.lower()
    if suffix in (*SUFFIXES, *PICKLES) or (path.is_file() and suffix not in ("", ".toml")):
        return True
    return (path / "edges.csv").is_file() or (path / "edges.tsv").is_file()
