"""Settings of the training loop."""

import dataclasses

from trainers.engine.loss_scale import check_loss_scale
from trainers.engine.optimizer import OPTIMIZERS
from trainers.engine.schedules import check_schedule


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long, how fast and how carefully to train.

    Raises:
        ValueError: when a field is out of range, naming it.

    Example:

    >>> LoopConfig(schedule="linear", max_minutes=55).steps
    1000
    """

    steps: int = 1000  # updates of the weights
    max_minutes: float = 0.0  # of training, evaluation apart; 0: no limit
    learning_rate: float = 1e-3  # Adam, at its peak
    schedule: str = "inverse_sqrt"  # how the rate falls: see `schedules`
    warmup_steps: int = 100  # linear growth of the rate
    constant_steps: int = 10_000_000  # at the peak, before inverse_sqrt falls
    decay_from: float = 0.0  # fraction of training before the others fall
    final_rate: float = 0.0  # fraction of the peak that they fall to
    adam_beta_2: float = 0.98  # decay of Adam's second moment
    optimizer: str = "adam"  # factored_adam: less memory; lazy_: only the busy
    clip_norm: float = 5.0  # global norm of the gradient is cut to this
    accumulate_steps: int = 1  # batches whose gradients make one update
    loss_scale: float = 0.0  # first factor of the loss, for float16; 0: none
    max_bad_steps: int = 10  # with NaN or infinity; left out until so many
    average_decay: float = 0.999  # moving average used to evaluate; 0: none
    evaluate_every: int = 500  # steps between evaluations on the dev set
    save_every: int = 500  # steps between checkpoints
    log_every: int = 50  # steps between lines of progress
    keep_checkpoints: int = 3  # last checkpoints kept, beside the best
    keep_best: int = 1  # evaluations whose weights are kept, by score
    patience: int = 0  # evaluations without a better score; 0: no limit
    seed: int = 1  # of initial weights, dropout and gating noise

    def __post_init__(self):
        for name in (
            "steps",
            "learning_rate",
            "warmup_steps",
            "clip_norm",
            "accumulate_steps",
            "max_bad_steps",
            "evaluate_every",
            "save_every",
            "log_every",
            "keep_checkpoints",
            "keep_best",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"`{name}` must be above zero. "
                    f"Received: {getattr(self, name)}"
                )
        check_schedule(self.schedule, self.decay_from, self.final_rate)
        for name in ("average_decay", "adam_beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 0 and below 1. "
                    f"Received: {getattr(self, name)}"
                )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"`optimizer` must be one of {', '.join(OPTIMIZERS)}. "
                f"Received: {self.optimizer!r}"
            )
        if self.loss_scale:
            check_loss_scale(self.loss_scale)
        for name in ("patience", "max_minutes"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"`{name}` must not be negative. "
                    f"Received: {getattr(self, name)}"
                )
