"""Scores of a model on a data set, and fine-tuning on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgenet.cli.models import called as _called
from edgenet.cli.models import inputs as _inputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgenet.data import Dataset

_AT_ONCE = 512  # signals in a batch


class Judge:
    """Scores of a model on a data set, and fine-tuning on it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def quality(self, model: nn.Module) -> float:
        """The validation metric; higher is better."""
        score = self.score(model, "val")
        return -score if self.dataset.metric == "rmse" else score

    def score(self, model: nn.Module, split: str) -> float:
        """The metric of a split."""
        import torch

        from edgenet.train import Metric, Tally

        tally = Tally(Metric.of(self.dataset.metric))
        model.eval()
        with torch.no_grad():
            for scores, target in self._answers(model, split):
                tally.add(scores, target, 0.0)
        return tally.metric()

    def fine_tune(self, model: nn.Module, teacher: nn.Module, epochs: int, lr: float) -> None:
        """Train in place on the labels, and on what the teacher says of every node; without dropout, for small models
        have nothing to spare. The epoch of the best validation score is kept, the untrained model among them."""
        import torch
        from tqdm import tqdm

        with torch.no_grad():
            told = [scores for scores, _, _ in self._outputs(teacher.eval(), "train")]
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
        best, kept = self.quality(model), _copied(model)
        for _ in tqdm(range(epochs), desc="fine-tune", leave=False):
            model.eval()
            for (scores, target, mask), soft in zip(self._outputs(model, "train"), told, strict=True):
                optimizer.zero_grad()
                self._loss(scores, target, mask, soft).backward()
                optimizer.step()
            quality = self.quality(model)
            if quality >= best:
                best, kept = quality, _copied(model)
        model.load_state_dict(kept)
        model.eval()

    def _loss(self, scores: Tensor, target: Tensor, mask: Tensor | None, soft: Tensor) -> Tensor:
        import torch.nn.functional as F

        from edgenet.compress import distillation

        own, labels = (scores, target) if mask is None else (scores[mask], target[mask])
        if self.dataset.target == "class":
            return F.cross_entropy(own, labels) + distillation(scores, soft)
        if self.dataset.target == "multilabel":
            loss = F.binary_cross_entropy_with_logits
            return loss(own, labels.to(own)) + loss(scores, soft.sigmoid())
        return F.mse_loss(own.squeeze(-1), labels.to(own)) + F.mse_loss(scores, soft)

    def _answers(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """(scores, target) of every batch of a split, of its own nodes alone."""
        for scores, target, mask in self._outputs(model, split):
            yield (scores, target) if mask is None else (scores[mask], target[mask])

    def _outputs(self, model: nn.Module, split: str) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """(scores, target, mask of the split's nodes) of every batch."""
        for data in getattr(self.dataset, split):
            if self.dataset.task == "signal":
                for start in range(0, len(data.y), _AT_ONCE):
                    few = slice(start, start + _AT_ONCE)
                    yield _called(model, _inputs(model, data, data.x[few]), self.dataset.name), data.y[few], None
                continue
            yield _called(model, _inputs(model, data), self.dataset.name), data.y, data.get(f"{split}_mask")


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
