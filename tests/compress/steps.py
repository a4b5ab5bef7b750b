"""The smallest training loop that calls every hook, for tests of rules without ``edgenet.fit``."""

import torch

from edgenet.compress import Training


class Steps(Training):
    """A training in a few lines.

    Args:
        optimizer: one, or what makes one of parameters, which ``renew_optimizer`` needs.
        states: of the callbacks of a training that is to go on.
    """

    def __init__(self, model, optimizer, callbacks=(), states=None):
        super().__init__(model, callbacks, resumes=states is not None)
        self.call("on_start")
        if states is not None:
            self.load_callback_states(states)
        self.make = None if isinstance(optimizer, torch.optim.Optimizer) else optimizer
        self.optimizer = optimizer if self.make is None else None
        self._make_optimizer()

    def _make_optimizer(self, known=()):
        if self.make is not None:
            self.optimizer = self.make([p for p in self.model.parameters() if p.requires_grad])
        if self.optimizer is not None:
            held = {p for group in self.optimizer.param_groups for p in group["params"]}
            self.regroup_(self.optimizer)
            self.optimizer.state.update({p: state for p, state in dict(known).items() if p in held})
            self.call("on_optimizer")

    def renew_optimizer(self):
        if self.make is None:
            super().renew_optimizer()
        self._make_optimizer(self.optimizer.state)

    def step_on(self, loss):
        """One step on a loss and the penalties of the callbacks; their sum."""
        self.step += 1
        penalty = self.penalty()
        total = loss if penalty is None else loss + penalty
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.call("after_backward")
        self.optimizer.step()
        self.call("after_step")
        return total.item()

    def epochs(self, number, batches, loss):
        """So many epochs over (x, y) batches; the epochs that were settled."""
        settled = []
        for _ in range(number):
            self.epoch += 1
            self.call("before_epoch")
            for batch in batches:
                self.batch = self.given(batch)
                self.output = self.call_model(self.model, self.batch)
                self.step_on(loss(self.output, self.batch[-1]))
            self.record = {"epoch": self.epoch}
            self.call("after_epoch")
            if self.settled():
                settled.append(self.epoch)
        return settled
