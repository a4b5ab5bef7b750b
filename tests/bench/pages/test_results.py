"""The pages of this checkout: each is what its rows make, has its shape, and links that lead on."""

import json
import re
from pathlib import Path

import pytest

from edgenet.bench.pages import check, text

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "results"
WORDS = 1_200  # on a page, outside tables, code and provenance
CLAIM = 80  # words before the first table


@pytest.fixture(params=check.pages(FOLDER), ids=lambda page: page.stem)
def page(request):
    return request.param


def test_every_page_is_what_its_rows_make():
    found = check.problems(FOLDER)
    assert not found, "\n" + "\n".join(found)


def test_every_page_says_what_made_it(page):
    block = text.block_of(page.read_text(encoding="utf-8"))
    assert {"command", "commit", "date", "backend", "seeds", "settings", "packages", "rows"} <= set(block)
    assert "edgenet" in block["command"] and re.fullmatch(r"\d{4}-\d\d-\d\d", block["date"])


def test_a_page_has_a_claim_tables_protocol_and_limits_in_this_order(page):
    said = text.without_stale(page.read_text(encoding="utf-8"))
    head, protocol, limits, made = said.split("\n## ")
    assert [part.partition("\n")[0] for part in (protocol, limits, made)] == ["Protocol", "Limits", "Provenance"]
    claim = head.partition("\n\n")[2].partition("\n\n")[0]
    assert claim[0] not in "|#`<" and 5 < len(claim.split()) <= CLAIM
    assert "\n|" in head and "\n```\n" in protocol and len(limits.split()) > 10


def test_a_page_can_be_read_in_minutes(page):
    said = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(re.sub(r"^\|.*$", "", said, flags=re.MULTILINE).split()) <= WORDS


@pytest.mark.parametrize("source", ["README.md", "docs"])
def test_links_between_pages_lead_to_files(source):
    files = [ROOT / source] if source.endswith(".md") else sorted((ROOT / source).rglob("*.md"))
    missing = []
    for file in files:
        said = re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", said):
            if "://" not in link and not (file.parent / link).exists():
                missing.append(f"{file.relative_to(ROOT)}: {link}")
    assert not missing, "\n" + "\n".join(missing)


def test_rows_are_json_that_other_languages_read():
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    for file in sorted((FOLDER / "rows").glob("*.json")):
        json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
