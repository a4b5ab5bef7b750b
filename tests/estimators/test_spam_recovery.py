"""SpAM finds the relevant features of the paper's simulation as often as it should. Slow: many fits."""

import json

import numpy as np
import pytest
from stored import oracle

from edgenet.bench.results.spam import recovery

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("smoother", ["spline", "kernel"])
def test_the_exact_set_is_on_the_path_in_95_of_100_draws(smoother):
    assert recovery(150, 200, range(50), smoother=smoother)[0] >= 0.95


@oracle("estimators/sim_spam_sp*.json")
def test_the_share_grows_with_the_sample_as_it_did_in_another_implementation(stored):
    for run in json.loads(stored.read_text()):
        want, got = run["path_recovers"], recovery(run["n"], run["p"], range(30))[0]
        pooled = min(max((want + got) / 2, 0.05), 0.95)
        assert abs(got - want) <= 3 * np.sqrt(2 * pooled * (1 - pooled) / 30)  # three errors of two samples of 30
