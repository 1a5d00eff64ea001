"""Looking inside a model: what it costs and what it does."""
from .complexity import activation_memory, count_flops, count_parameters, count_similarities

__all__ = ['activation_memory', 'count_flops', 'count_parameters', 'count_similarities']
