"""A page of results is rewritten section by section."""

import pytest

from edgenet.bench.harness import page
from edgenet.errors import ConfigError


def test_a_section_is_written_and_rewritten_and_all_else_stays(tmp_path):
    file = tmp_path / "new" / "page.md"
    page.write_section(file, "Speed", "layers", ["## Layers", "old"])
    page.write_section(file, "Speed", "epoch", ["## Steps\n"])
    text = file.read_text(encoding="utf-8")
    assert text == (
        "# Speed\n\n<!-- layers -->\n\n## Layers\n\nold\n\n<!-- /layers -->\n\n"
        "<!-- epoch -->\n\n## Steps\n\n<!-- /epoch -->\n"
    )
    file.write_text("Before.\n" + text + "\nBehind.\n", encoding="utf-8")
    section = page.write_section(file, "Speed", "layers", ["## Layers", "new"])
    assert section == "<!-- layers -->\n\n## Layers\n\nnew\n\n<!-- /layers -->"
    assert file.read_text(encoding="utf-8") == "Before.\n" + text.replace("old", "new") + "\nBehind.\n"


@pytest.mark.parametrize(
    "text",
    [
        "<!-- epoch -->",
        "<!-- /epoch -->",
        "<!-- /epoch --> <!-- epoch -->",
        "<!-- epoch --> <!-- epoch --> <!-- /epoch -->",
    ],
)
def test_a_page_with_half_a_section_is_left_as_it_is(tmp_path, text):
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="stands between one <!-- epoch --> and one"):
        page.write_section(file, "Speed", "epoch", ["new"])
    assert file.read_text(encoding="utf-8") == text
