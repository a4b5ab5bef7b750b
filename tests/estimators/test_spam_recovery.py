"""SpAM finds the relevant features of the paper's simulation as often as it should. Slow: many fits."""

import json

import numpy as np
import pytest

from edgenet.estimators import SpAM

from estimators.spam_simulation import RELEVANT, draw  # isort: skip

pytestmark = pytest.mark.slow


def recovered(n, p, seeds, **options):
    """The share of seeds with the exact relevant set on the path."""
    return np.mean([RELEVANT in SpAM(**options).fit(*draw(n, p, seed)).path_.supports for seed in seeds])


@pytest.mark.parametrize("smoother", ["spline", "kernel"])
def test_the_exact_set_is_on_the_path_in_95_of_100_draws(smoother):
    assert recovered(150, 200, range(50), smoother=smoother) >= 0.95


@pytest.mark.parametrize("p", [128, 256])
@pytest.mark.parametrize("n", [40, 60, 80, 100, 120, 140, 160])
def test_the_share_grows_with_the_sample_as_it_did_in_another_implementation(oracle_root, n, p):
    runs = json.loads((oracle_root / "estimators" / "sim_spam_sp.json").read_text())
    want = next(run["path_recovers"] for run in runs if (run["n"], run["p"]) == (n, p))
    got = recovered(n, p, range(30))
    pooled = min(max((want + got) / 2, 0.05), 0.95)
    assert abs(got - want) <= 3 * np.sqrt(2 * pooled * (1 - pooled) / 30)  # three standard errors of two samples of 30
