"""Keep a page of which no rows are left: they are read off its tables, and the page says so."""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from edgenet.bench.pages import syntax
from edgenet.bench.pages.record import Record, rows_file
from edgenet.bench.pages.tables import tables
from edgenet.bench.pages.text import block, title_of, with_block, without_stale
from edgenet.errors import ConfigError
from edgenet.writing import write_text

_PACKAGES = ("torch", "torch_geometric", "dgl", "torch_scatter", "tensorly-torch", "pygam", "skglm", "scikit-learn")
_COMMAND = re.compile(r"^```\n(?P<command>[^\n]*\bedgenet [^\n]*)\n```\n+", re.MULTILINE)
_MACHINE = re.compile(r"^Measured on [^\n]*\n+", re.MULTILINE)


def run(options: argparse.Namespace) -> int:
    """Write the page and its rows. A page that was adopted before keeps what is said of its making.

    Raises:
        ConfigError: if the page has rows, or its making is to be told anew.
    """
    into = options.into or options.page
    said = without_stale(options.page.read_text(encoding="utf-8"))
    if options.section:
        said = _section(options.page, said, options.section)
    if rows_file(into).exists() and Record.read(into).content is not None:
        raise ConfigError(f"{into} has its rows; `edgenet bench render {into}` makes it again of them.")
    if rows_file(into).exists() and into == options.page:
        given = [f"--{name}" for name in ("claim", "commit", "module") if getattr(options, name)]
        if given:
            raise ConfigError(f"{into} was adopted before and keeps what is said of its making: {', '.join(given)} "
                              f"would change nothing. Leave it out, or remove {rows_file(into)} first.")  # fmt: skip
        old = Record.read(into)
        record = Record(title_of(said), old.provenance, tables(said), None, old.code)
    else:
        facts = told(said, options.page, options.commit)
        said = arranged(said, options.claim)
        record = Record(title_of(said), facts, tables(said), None, code_at(facts["commit"], options.module or []))
    record.write(into)
    write_text(into, with_block(said, block(record, into.stem)))
    print(f"written: {into}, {rows_file(into)}")
    return 0


def _section(page: Path, said: str, name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n+(.*?)\n*<!-- /{re.escape(name)} -->", said, re.DOTALL)
    if found is None:
        raise ConfigError(f"{page} has no section between <!-- {name} --> and <!-- /{name} -->.")
    return found[1].replace("## ", "# ", 1) + "\n"


def told(said: str, page: Path, commit: str | None) -> dict[str, Any]:
    """What a page of the old form, and the history of its file, say of its making."""
    command, machine = _COMMAND.search(said), _MACHINE.search(said)
    text = machine[0] if machine else ""
    versions = {name: found[1] for name in _PACKAGES if (found := re.search(rf"\b{name} (\d[\w.+]*\w)", text))}
    backend = re.search(r"backend(?: of spmm:)? (\w+)", text)
    seeds = re.search(r"(?:over|in) (\d+) (?:seeds|draws|splits)", said)
    at, date = _history(page, commit)
    return {
        "command": command["command"] if command else "not recorded",
        "commit": at,
        "date": date,
        **({"noted": "commit and date are of the last change of the page"} if commit is None else {}),
        "backend": backend[1] if backend else "not recorded",
        "machine": text.strip(),
        "seeds": list(range(int(seeds[1]))) if seeds else "as the page says",
        "settings": "as the page says",
        "packages": versions,
    }


def _history(page: Path, commit: str | None) -> tuple[str, str]:
    """A commit and its date; by default the last one that changed the page."""
    which = ("--", page.name) if commit is None else (commit, "--")
    at, _, date = _git(page, "log", "-1", "--format=%h %cs", *which).partition(" ")
    if not at:
        raise ConfigError(f"{page} is in no commit; say which one made it: --commit.")
    return at, date


def arranged(said: str, claim: str | None) -> str:
    """Claim, tables, protocol, limits: what a page of the old form says before its first table is protocol."""
    command, machine = _COMMAND.search(said), _MACHINE.search(said)
    body = _MACHINE.sub("", _COMMAND.sub("", said, count=1), count=1)
    title, _, body = body.partition("\n")
    begin = re.search(r"^(?:\||#|!\[|```)", body, re.MULTILINE)
    split = begin.start() if begin else len(body)
    parts = [title, claim or "", body[split:], "## Protocol", command[0] if command else "", body[:split],
             machine[0] if machine else "", "## Limits"]  # fmt: skip
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def code_at(commit: str, modules: list[str]) -> dict[str, str]:
    """A hash for each file of code that these modules read, as they were at a commit.

    Raises:
        ConfigError: if a module was not there.
    """
    if not modules:
        return {}
    code = sources_at(commit)
    start = [name.removeprefix(f"{syntax.PACKAGE.name}.").replace(".", "/") + ".py" for name in modules]
    for name, path in zip(modules, start, strict=True):
        if path not in code:
            raise ConfigError(f"--module {name}: there was no {path} at {commit}.")
    return syntax.hashes(syntax.counted(syntax.reached(start, code)), code)


def sources_at(commit: str) -> syntax.Sources:
    """All code of the package, as it was at a commit.

    Raises:
        ConfigError: if there is no such commit where the package lies.
    """
    root, package = syntax.PACKAGE.parent, syntax.PACKAGE.name
    try:
        done = subprocess.run(["git", "archive", commit, package], cwd=root, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"the code at {commit} cannot be read in {root}: {error.stderr.decode().strip()}.") from error
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        files = [one for one in archive.getmembers() if one.isfile() and one.name.endswith((".py", ".cpp", ".h"))]
        found = {one.name.removeprefix(f"{package}/"): archive.extractfile(one) for one in files}
        return {name: file.read() for name, file in found.items() if file is not None}


def _git(page: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=page.resolve().parent, capture_output=True, check=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"git {' '.join(words)}: {error.stderr.strip()}.") from error
    return done.stdout.strip()
