"""What the stress tests share; STRESS_KILLS, STRESS_ITERS and STRESS_SEED of the environment say how much.

A training (configs/cbt_decoder/cbt_decoder_mini_ade20k.py, one layer, generated data) runs undisturbed first. Then the
same training is disturbed and resumed, and must end with the same parameters, optimizer and schedules, bit for bit.
"""
import os
import random

import pytest

from .job import Job, Setting, make_data

KILLS = int(os.environ.get('STRESS_KILLS', 30))
ITERS = int(os.environ.get('STRESS_ITERS', 100))


@pytest.fixture(scope='session')
def setting(tmp_path_factory):
    setting = Setting(tmp_path_factory.mktemp('stress'), ITERS)
    make_data(setting)
    return setting


@pytest.fixture(scope='session')
def reference(setting):
    """Work dir of the undisturbed training."""
    job = Job(setting, setting.scratch / 'undisturbed')
    assert job.end() == 0, job.text()[-3000:]
    return job.work_dir


@pytest.fixture
def rng():
    """Of the random moments; a failure shows its seed."""
    seed = os.environ.get('STRESS_SEED') or random.randrange(10**6)
    print(f'STRESS_SEED={seed}')
    return random.Random(int(seed))
