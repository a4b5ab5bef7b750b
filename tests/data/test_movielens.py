"""MovieLens: the graph knows training ratings only, correlations are proper, a signal does not hold its own answer."""

import math

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data import movielens
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError


def ratings_table(users=120, movies=30, seed=0):
    """Ratings with a taste per user, so that movies correlate; everybody rated movie 5, fewer the later ones."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.standard_normal((users, 2)), rng.standard_normal((movies, 2))
    table = np.clip(np.round(3 + taste @ kind.T + 0.3 * rng.standard_normal((users, movies))), 1, 5)
    table[rng.random((users, movies)) > np.linspace(0.9, 0.3, movies)] = 0
    table[:, 4] = np.maximum(table[:, 4], 1)
    return table


def write(folder, table):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{u + 1}\t{m + 1}\t{int(table[u, m])}\t88125{u}" for u, m in zip(*np.nonzero(table), strict=True)]
    np.random.default_rng(0).shuffle(lines)
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    return folder


OPTIONS = {"target_movie": 5, "num_movies": 20, "neighbours": 3}


def pearson_by_loops(ratings, min_common):
    movies = ratings.shape[1]
    correlation = np.zeros((movies, movies))
    for u in range(movies):
        for v in range(movies):
            both = (ratings[:, u] > 0) & (ratings[:, v] > 0)
            a, b = ratings[both, u], ratings[both, v]
            if u != v and both.sum() >= min_common and a.std() > 0 and b.std() > 0:
                correlation[u, v] = np.corrcoef(a, b)[0, 1]
    return correlation


@pytest.mark.parametrize("min_common", [2, 25])
def test_correlations_are_those_of_the_users_who_rated_both(min_common):
    ratings = ratings_table(60, 12)
    ratings[:, 7] = np.where(ratings[:, 7] > 0, 4, 0)  # everybody gives the same: no correlation with anything
    ratings[2:, 8] = 0
    got = movielens.pearson(ratings, min_common)
    np.testing.assert_allclose(got, pearson_by_loops(ratings, min_common), atol=1e-12)
    assert not got[7].any() and (got != 0).any()


def test_the_nearest_are_kept_in_both_directions_and_never_negative():
    correlation = np.array([[0, 0.9, 0.2, -0.5], [0.9, 0, 0.1, 0.3], [0.2, 0.1, 0, -0.1], [-0.5, 0.3, -0.1, 0]])
    wanted = [[0, 0.9, 0.2, 0], [0.9, 0, 0, 0.3], [0.2, 0, 0, 0], [0, 0.3, 0, 0]]
    assert movielens.nearest(correlation, 1).toarray().tolist() == wanted


def test_a_signal_is_a_users_ratings_without_the_answer(tmp_path):
    table = ratings_table()
    loaded = data.load("movielens", root=write(tmp_path, table), **OPTIONS)
    columns = np.array(loaded.info["movies"]) - 1
    assert loaded.metric == "rmse" and loaded.num_outputs == 1 and len(columns) == 20
    assert [len(getattr(loaded, split)[0].y) for split in ("train", "val", "test")] == [98, 10, 12]
    seen = []
    for split in ("train", "val", "test"):
        (graph,) = getattr(loaded, split)
        assert columns[graph.target_node] == 4 and not graph.x[:, graph.target_node].any()
        full = graph.x[:, :, 0].double().numpy()
        full[:, graph.target_node] = graph.y.double().numpy()
        for row in full:
            (user,) = np.flatnonzero((table[:, columns] == row).all(1))
            seen.append(int(user))
    assert sorted(seen) == list(range(120)), "every user who rated the movie is in one split"


def test_the_graph_is_of_training_ratings_only(tmp_path):
    table = ratings_table()
    one = data.load("movielens", root=write(tmp_path / "one", table), **OPTIONS)
    users = np.random.default_rng(0).permutation(120)
    assert len(one.test[0].y) == 12
    held = users[:22]  # of testing and validation
    other = table.copy()
    other[held] = np.where(table[held] > 0, 6 - table[held], 0)  # they change their minds about everything
    two = data.load("movielens", root=write(tmp_path / "two", other), **OPTIONS)
    assert not torch.equal(one.test[0].y, two.test[0].y) and torch.equal(one.train[0].x, two.train[0].x)
    for name in ("edge_index", "edge_weight"):
        assert torch.equal(one.train[0][name], two.train[0][name])
    table[users[50]] = np.where(table[users[50]] > 0, 6 - table[users[50]], 0)  # a training user
    three = data.load("movielens", root=write(tmp_path / "three", table), **OPTIONS)
    assert not torch.equal(one.train[0].edge_weight, three.train[0].edge_weight)


def test_the_graph_is_symmetric_with_largest_eigenvalue_one(tmp_path):
    graph = data.load("movielens", root=write(tmp_path, ratings_table()), **OPTIONS).train[0]
    shift = torch.zeros(20, 20, dtype=torch.float64)
    shift[graph.edge_index[0], graph.edge_index[1]] = graph.edge_weight.double()
    assert torch.equal(shift, shift.T) and (shift >= 0).all() and not shift.diagonal().any()
    assert abs(float(torch.linalg.eigvalsh(shift)[-1]) - 1) < 1e-6  # weights are float32
    assert int((shift > 0).sum(1).min()) >= 3


def test_the_error_of_the_mean_is_told(tmp_path):
    loaded = data.load("movielens", root=write(tmp_path, ratings_table()), **OPTIONS)
    error = loaded.test[0].y.double() - loaded.train[0].y.double().mean()
    assert abs(loaded.info["mean_predictor_rmse"] - math.sqrt(float(error.square().mean()))) < 1e-6


def test_most_rated_movies_keep_the_target():
    ratings = np.array([[1, 0, 2, 1], [1, 0, 3, 0], [1, 1, 4, 2]], dtype=float)
    assert movielens.most_rated(ratings, 2, keep=0).tolist() == [0, 2]
    assert movielens.most_rated(ratings, 2, keep=1).tolist() == [0, 1]


@pytest.mark.parametrize("layout", ["movielens", "movielens/ml-100k", "ml-100k", "."])
def test_every_layout_is_found(tmp_path, layout):
    folder = write(tmp_path / layout, ratings_table())
    assert data.load("movielens", root=tmp_path, **OPTIONS).info["found"] == str(folder / "u.data")


def test_the_file_itself_may_be_the_root(tmp_path):
    file = write(tmp_path, ratings_table()) / "u.data"
    assert data.load("movielens", root=file, **OPTIONS).info["found"] == str(file)


def test_a_miss_names_the_source_and_the_terms(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)movielens/u\.data .*ml-100k\.zip, read the terms"):
        data.load("movielens", root=tmp_path)


@pytest.mark.parametrize(
    "line, says",
    [
        ("1\t2\t3", r"u\.data:2: .* not four whole numbers"),
        ("1\t2\tgood\t4", "not four whole numbers"),
        ("1\t2\t6\t4", "rating 6"),
        ("0\t2\t3\t4", "user 0"),
        ("1\t1\t4\t9", "rated a movie twice"),
        ("999999\t999999\t4\t9", "999999 users"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, says):
    (tmp_path / "u.data").write_text(f"1\t1\t5\t881250949\n{line}\n")
    with pytest.raises(DataError, match=says):
        data.load("movielens", root=tmp_path, target_movie=1)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"target_movie": 999}, "nobody rated movie 999; numbers run from 1 to 30"),
        ({"target_movie": 5, "num_movies": 1}, "got 1"),
        ({"target_movie": 5, "neighbours": 0}, "at least 1"),
    ],
)
def test_an_option_out_of_range_is_named(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        data.load("movielens", root=write(tmp_path, ratings_table()), **options)
