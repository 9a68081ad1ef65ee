"""Batches made ahead of the training: in a thread, or in processes that feed a GPU."""

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.clips import make_clip
from training.data import Library
from training.evaluate import to_images
from training.rollout import Batch, glimpses_of

Parts = tuple[NDArray[np.generic], ...]
"""The arrays of a `Batch`, in its order."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a batch is made from: the same order always gives the same batch."""

    seed: int
    step: int
    size: int
    clips: int
    frames: int
    objects: int


def make_batch(library: Library, order: Order) -> Parts:
    """Return the arrays of a batch."""
    made = [
        make_clip(
            library,
            (order.seed, order.step, i),
            order.size,
            order.frames,
            order.objects,
            leaps=True,
        )
        for i in range(order.clips)
    ]
    images = torch.stack([to_images(c.frames, order.size) for c in made])
    seen = [glimpses_of(one) for one in images]
    motion, colours = (torch.stack(parts).numpy() for parts in zip(*seen, strict=True))
    masks = np.concatenate([c.masks for c in made], 1).astype(bool)
    clicks = np.concatenate([c.clicks for c in made])[:, None]
    boxes = np.concatenate([c.boxes for c in made]).reshape(-1, 2, 2)
    vague = np.concatenate([c.vague for c in made])
    leapt = np.repeat([c.leapt for c in made], order.objects)
    return images.numpy(), masks, clicks, boxes, vague, leapt, motion, colours


_library: Library | None = None
"""Of a worker process, which inherits it."""


def _begin(library: Library) -> None:
    global _library
    _library = library
    torch.set_num_threads(1)


def _work(order: Order) -> Parts:
    assert _library is not None
    return make_batch(_library, order)


class Maker:
    """Makes the batches of the next steps while one is trained on.

    Args:
        library: what clips are made of.
        workers: processes; 0 for one thread, which is enough beside a processor's training.
    """

    def __init__(self, library: Library, workers: int = 0) -> None:
        self._library, self._workers = library, workers
        self._ahead = max(1, 2 * workers)
        self._pool: Executor
        if workers:
            self._pool = ProcessPoolExecutor(
                workers, multiprocessing.get_context("fork"), _begin, (library,)
            )
        else:
            self._pool = ThreadPoolExecutor(1, "clips")
        self._waiting: dict[Order, Future[Parts]] = {}

    def get(self, order: Order, following: list[Order]) -> Batch:
        """Return a batch, and have the first few of the following ones made meanwhile."""
        wanted = [order, *following[: self._ahead]]
        for old in [one for one in self._waiting if one not in wanted]:
            self._waiting.pop(old).cancel()
        for one in wanted:
            if one not in self._waiting:
                self._waiting[one] = self._submit(one)
        parts = self._waiting.pop(order).result()
        return Batch(*(torch.from_numpy(part) for part in parts))

    @property
    def ahead(self) -> int:
        """Batches that are made ahead."""
        return self._ahead

    def _submit(self, order: Order) -> Future[Parts]:
        if self._workers:
            return self._pool.submit(_work, order)
        return self._pool.submit(make_batch, self._library, order)

    def close(self) -> None:
        """Stop making batches."""
        self._pool.shutdown(cancel_futures=True)
