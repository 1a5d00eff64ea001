"""Hypothesis: a few examples, the same in every run; ``--hypothesis-profile=stress`` draws many new ones."""
from hypothesis import HealthCheck, settings

COMMON = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))
settings.register_profile('short', max_examples=20, derandomize=True, **COMMON)
settings.register_profile('stress', max_examples=120, print_blob=True, **COMMON)
settings.load_profile('short')
