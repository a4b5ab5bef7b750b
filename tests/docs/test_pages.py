"""What readers meet first: short sentences, a picture and a result, links that lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ("index", "install", "which_phi", "tutorials/index", "compression", "ecosystem", "export", "extending",
          "recurrent", "training")  # fmt: skip
PAGES = ["README.md", *(f"docs/{name}.md" for name in GUIDES)]
TUTORIALS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "tutorials").glob("*.md"))
# words of the library that stand in the first screen of the README only where they are explained
LATER = ("phi", "taps", "lift", "slot", "dopant", "latent", "straight through", "sddmm", "spmm")


def prose(text: str) -> list[str]:
    """The sentences of a page, without code, tables, headings, pictures and the addresses of links."""
    text = re.sub(r"^(`{3,}|:{4}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|<[^>]+>", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    paragraphs, block = [], []
    for line in [*text.splitlines(), ""]:
        begins = re.match(r"\s*([-*]|\d+\.) ", line)
        if not line.strip() or line.startswith(("#", "|")) or begins:
            paragraphs.append(" ".join(block))
            block = [line[begins.end() :]] if begins else []
        else:
            block.append(line.strip())
    sentences = [part for block in paragraphs for part in re.split(r"(?<=[.!?])[)*]*\s+", block)]
    return [sentence for sentence in sentences if len(sentence.split()) > 2]


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS])
def test_sentences_are_short(page):
    lengths = {sentence: len(sentence.split()) for sentence in prose((ROOT / page).read_text(encoding="utf-8"))}
    if not lengths:
        return
    assert sum(lengths.values()) / len(lengths) <= 25
    longest = max(lengths, key=lengths.get)
    assert lengths[longest] <= 40, longest


def test_sentences_are_found():
    text = "# A heading here\n\nOne two three. Four `x y` [five](http://a.b) six:\n\n- seven eight nine\n"
    text += "\n```\nno no no\n```\n"
    assert prose(text) == ["One two three.", "Four code five six:", "seven eight nine"]


def test_the_first_screen_of_the_readme_has_a_result_and_a_picture_and_no_word_of_ours():
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:32])
    pictures = re.findall(r'src="([^"]+)"', first)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)
    assert "| times smaller |" in first
    assert not [word for word in LATER if re.search(rf"\b{word}\b", first)]


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS])
def test_links_to_files_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_functions_that_were_found_by_dir_alone_have_their_place():
    written = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "api"]
    pages = "\n".join(path.read_text(encoding="utf-8") for path in written)
    for name in (
        "share=", "from_networkx", "from_scipy", "read_graph", "preset(", "edge_weight_picture", "learning_curve",
        "edge_weights(", "byte_curves", "size_curves", "compression_picture",
    ):  # fmt: skip
        assert name in pages, name
