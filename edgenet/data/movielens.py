"""MovieLens-100k: what will a user give one movie, from the other ratings, on a graph of similar movies?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data

from edgenet.data import finding, shift
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.files import read_bytes
from edgenet.data.places import Place
from edgenet.errors import ConfigError, DataError

STAR_WARS = 50

FACTS = KNOWN["movielens"]


def make(
    where: Sequence[Place],
    *,
    target_movie: int = STAR_WARS,
    num_movies: int = 200,
    neighbours: int = 10,
    min_common: int = 5,
    seed: int = 0,
) -> Dataset:
    """A signal is one user's ratings (0 where there is none) with the target movie's zeroed; its value is that rating.

    The graph is made from the ratings of the training users alone: the Pearson correlation of two movies over the users
    who rated both, the ``neighbours`` largest positive ones of every movie, an edge where either movie chose the other,
    divided by lambda_max. (The code published with the EdgeNets paper leaves the product of the two ratings out of the
    correlation; this is the proper one.)

    Args:
        where: folders to look in for ``u.data``.
        target_movie: its number in the file; 50 is Star Wars.
        num_movies: N, the most rated movies of the whole file, of equals the lower number; the target is always kept.
        neighbours: correlations kept per movie.
        min_common: two movies that fewer users rated both are not compared: a few ratings correlate by accident.
        seed: draws the split of the users who rated the target.

    Returns:
        x (S, N, 1) with ratings 1 to 5 or 0, y (S,) ratings, and ``target_node``, the target's place among the N.
        ``info["movies"]`` lists the N numbers; ``info["mean_predictor_rmse"]`` is the error of the mean training
        rating.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: no folder has ``u.data``.
        DataError: a line of the file is not four whole numbers, or a rating is not 1 to 5.
    """
    path = find(where)
    ratings = read_ratings(path)  # (users, movies), 0: not rated
    if not 1 <= target_movie <= ratings.shape[1] or not (ratings[:, target_movie - 1] > 0).any():
        raise ConfigError(f"movielens: nobody rated movie {target_movie}; numbers run from 1 to {ratings.shape[1]}.")
    if not (num_movies >= 2 and neighbours >= 1 and min_common >= 2):
        raise ConfigError(
            f"movielens: num_movies and min_common must be at least 2 and neighbours at least 1, got {num_movies}, "
            f"{min_common}, {neighbours}."
        )
    movies = most_rated(ratings, num_movies, target_movie - 1)
    target = int(np.flatnonzero(movies == target_movie - 1)[0])
    ratings = ratings[:, movies]

    raters = np.random.default_rng(seed).permutation(np.flatnonzero(ratings[:, target]))
    num_test = len(raters) // 10
    num_val = (len(raters) - num_test) // 10
    if min(num_test, num_val) == 0:
        raise ConfigError(f"movielens: only {len(raters)} users rated movie {target_movie}: too few for three splits.")
    users = {
        "train": raters[num_test + num_val :],
        "val": raters[num_test : num_test + num_val],
        "test": raters[:num_test],
    }
    similar = nearest(pearson(ratings[users["train"]], min_common), neighbours)
    operator, largest = shift.over_lambda_max(similar, "movielens: the graph of movies")
    edge_index, edge_weight = shift.edges(operator)
    lists = {}
    for split, chosen in users.items():
        x, y = ratings[chosen].copy(), ratings[chosen, target]
        x[:, target] = 0
        data = Data(
            x=torch.from_numpy(x.astype(np.float32))[:, :, None],
            y=torch.from_numpy(y.astype(np.float32)),
            edge_index=torch.from_numpy(edge_index.copy()),
            edge_weight=torch.from_numpy(edge_weight.copy()),
            num_nodes=len(movies),
            target_node=target,
        )
        lists[split] = [check_data(data, f"movielens ({split})")]
    mean = lists["train"][0].y.mean()
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "normalisation": "S = W / lambda_max; ratings as they are",
        "target_movie": target_movie,
        "movies": (movies + 1).tolist(),
        "lambda_max": largest,
        "mean_predictor_rmse": float((lists["test"][0].y - mean).square().mean().sqrt()),
        "found": str(path),
        "warnings": [],
    }
    isolated = len(movies) - len(np.unique(edge_index))
    if isolated:
        info["warnings"].append(f"{isolated} movies correlate with no other and have no edge")
    return Dataset("movielens", "signal", "value", "rmse", 1, 1, *lists.values(), info)


def find(where: Sequence[Place]) -> Path:
    """The user's own ``u.data``. Never downloaded: its terms are for the user to read."""
    return finding.find("movielens", where)


def read_ratings(path: Path) -> np.ndarray:
    """(users, movies) float64 from lines ``user movie rating time``; numbers in the file start at 1."""
    rows = []
    for number, line in enumerate(read_bytes(path).decode("latin1").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            user, movie, rating, _ = (int(field) for field in fields)
        except ValueError:
            raise DataError(
                f"{path}:{number}: {line[:80]!r} is not four whole numbers: user, movie, rating, time."
            ) from None
        if not (1 <= user < 10**6 and 1 <= movie < 10**6 and 1 <= rating <= 5):
            raise DataError(
                f"{path}:{number}: user {user}, movie {movie}, rating {rating}: users and movies count from 1, and "
                f"ratings are 1 to 5."
            )
        rows.append((user - 1, movie - 1, rating))
    if not rows:
        raise DataError(f"{path}: no ratings in it.")
    user, movie, rating = np.array(rows).T
    if (user.max() + 1) * (movie.max() + 1) > 2**28:
        raise DataError(
            f"{path}: {user.max() + 1} users and {movie.max() + 1} movies; MovieLens-100k has 943 and 1682."
        )
    table = np.zeros((user.max() + 1, movie.max() + 1))
    if len(np.unique(user * table.shape[1] + movie)) != len(rows):
        raise DataError(f"{path}: a user rated a movie twice.")
    table[user, movie] = rating
    return table


def most_rated(ratings: np.ndarray, count: int, keep: int) -> np.ndarray:
    """The ``count`` columns with most ratings, in rising order; ``keep`` is among them, in place of the last."""
    order = np.argsort(-(ratings > 0).sum(0), kind="stable")[:count]
    if keep not in order:
        order[-1] = keep
    return np.sort(order)


def pearson(ratings: np.ndarray, min_common: int) -> np.ndarray:
    """(N, N) correlation of columns over the rows where both are rated; 0 on the diagonal and where it is not defined.

    r_uv = (sum ab - sum a sum b / n) / sqrt((sum a^2 - (sum a)^2 / n) (sum b^2 - (sum b)^2 / n)), all sums over the n
    rows with a = ratings[:, u] > 0 and b = ratings[:, v] > 0. Not defined for n < min_common or a constant column.
    """
    rated = (ratings > 0).astype(np.float64)
    common = rated.T @ rated
    total, square = ratings.T @ rated, (ratings**2).T @ rated  # of u over the raters shared with v
    safe = np.maximum(common, 1)
    covariance = ratings.T @ ratings - total * total.T / safe
    variance = square - total**2 / safe
    # ratings are whole numbers: a spread below 1e-9 is rounding
    defined = (common >= min_common) & (variance > 1e-9) & (variance.T > 1e-9)
    correlation = np.where(defined, covariance / np.sqrt(np.where(defined, variance * variance.T, 1)), 0)
    np.fill_diagonal(correlation, 0)
    return correlation


def nearest(correlation: np.ndarray, neighbours: int) -> sp.csr_matrix:
    """Symmetric: the ``neighbours`` largest positive entries of every row, kept in both directions."""
    nodes = len(correlation)
    order = np.argsort(-correlation, axis=1, kind="stable")[:, :neighbours]
    kept = np.zeros_like(correlation)
    rows = np.arange(nodes)[:, None]
    kept[rows, order] = np.maximum(correlation[rows, order], 0)
    return sp.csr_matrix(np.maximum(kept, kept.T))
