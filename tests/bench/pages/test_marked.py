"""Tables that stand between two marks of a page."""

import pytest

from edgenet.bench.pages.marked import with_marked
from edgenet.errors import ConfigError


def test_what_is_made_takes_its_place_and_leaves_the_rest():
    text = "before\n<!-- jobs -->\nold\n<!-- /jobs -->\nafter\n"
    wanted = "before\n<!-- jobs -->\n| new |\n<!-- /jobs -->\nafter\n"
    assert with_marked(text, "jobs", "| new |", "page.md") == wanted


@pytest.mark.parametrize("text", ["before", "<!-- jobs --> only", "<!-- /jobs --><!-- jobs -->"])
def test_a_page_without_a_place_is_refused(text):
    with pytest.raises(ConfigError, match="has no place for the table"):
        with_marked(text, "jobs", "| new |", "page.md")
