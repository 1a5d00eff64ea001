"""Random numbers as a function of place: what a sample or an iteration draws depends on nothing drawn before."""
import random

import numpy as np
import torch

SAMPLE = 0  # place of a sample: (SAMPLE, epoch, position in the epoch, counted over all processes)
ITERATION = 1  # place of an iteration: (ITERATION, iteration)


def seed_generators(seed: int, *place: int, devices: bool = False) -> None:
    """Seed the generators of Python, NumPy and torch for one place of a run.

    Args:
        seed (int): Seed of the run, not negative.
        *place (int): What is about to draw, :data:`SAMPLE` or :data:`ITERATION`, and where.
        devices (bool): Seed the generators of the GPUs, too. Defaults to False: a data-loader worker must not
            touch them.
    """
    words = np.random.SeedSequence((seed, *place)).generate_state(3, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:2].view(np.uint32))
    if devices:
        torch.manual_seed(int(words[2]))
    else:
        torch.default_generator.manual_seed(int(words[2]))
