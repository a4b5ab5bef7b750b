"""Some kills of ``make crash``, and every step of a run's own end."""

import pytest
from reliability.crash import killed_runs, killed_saves

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


def test_a_run_that_is_killed_and_resumed_ends_with_the_bits_of_one_that_is_not(tmp_path):
    runs, kills = killed_runs(3, tmp_path)
    assert kills == 3 and runs >= 1


def test_a_model_that_is_saved_over_another_is_the_old_one_or_the_new_one(tmp_path):
    assert killed_saves(6, tmp_path) == 6


@pytest.mark.slow
def test_more_kills_at_other_moments(tmp_path):
    for seed in range(1, 4):
        (tmp_path / str(seed)).mkdir()
        killed_runs(10, tmp_path / str(seed), seed)
        killed_saves(20, tmp_path / str(seed), seed)
