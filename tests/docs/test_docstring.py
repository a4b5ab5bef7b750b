"""Docstrings become reStructuredText that says the same."""

import docstring
import menu

from edgenet.estimators import SpAM


def made(text):
    return "\n".join(docstring.plain(text.splitlines())).rstrip("\n")


def test_letters_of_formulas_mean_themselves():
    assert made("y = a * b, |x|, z_ and x_i") == r"y = a \* b, \|x\|, z\_ and x_i"


def test_what_stands_between_backticks_stays():
    kept = "``a * b_`` and `EdgeNets <https://x.org/a_b>`_"
    assert made(f"{kept} *") == rf"{kept} \*"


def test_marks_end_where_letters_follow():
    assert made("``std``^2 of 2``n`` or ``a``s, ``b``.") == r"``std``\ ^2 of 2\ ``n`` or ``a``\ s, ``b``."


def test_formulas_that_are_set_in_keep_their_shape():
    text = "A layer.\n\n    z = W * x\n      + b\n\nMore."
    assert made(text) == "A layer.\n\n::\n\n        z = W * x\n          + b\n\nMore."
    assert made("In shifts::\n\n    m = |g|") == "In shifts::\n\n        m = |g|"


def test_arguments_keep_their_names_and_examples_their_letters():
    text = "Args:\n    x_: how *many*.\n        Longer, a_.\n\nExample:\n    >>> a * b_\n    3"
    assert made(text) == "Args:\n    x_: how \\*many\\*.\n        Longer, a\\_.\n\nExample:\n    >>> a * b_\n    3"


def test_attributes_that_share_a_line_are_told_of_one_by_one():
    text = "Attributes:\n    a, b: how *many*.\n        Longer.\n    c: one.\n\nMore."
    once = "how \\*many\\*.\n        Longer.\n"
    assert made(text) == f"Attributes:\n    a: {once}    b: {once}    c: one.\n\nMore."


def test_members_that_scikit_learn_adds_are_left_out():
    assert docstring.foreign(SpAM.set_fit_request)
    assert not docstring.foreign(SpAM.fit)


def test_tables_stay():
    table = "====  ====\na     b*\n      more\n====  ===="
    assert made(table) == table


def test_links_out_of_the_folder_become_words_and_the_index_of_results_gets_a_menu():
    page = "see [Cora](../datasets/cora/README.md#x), [b](c.md)"
    assert menu.inside("a", page) == "see Cora (`datasets/cora/README.md`), [b](c.md)"
    made = menu.inside("results/README", "The [rows](rows) are there.")
    assert made.startswith("The rows (`docs/results/rows/`) are there.\n\n```{toctree}")
