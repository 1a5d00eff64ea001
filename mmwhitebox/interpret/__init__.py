"""Looking inside a model: what it costs and what it does."""
from mmwhitebox import stack  # noqa: F401  # isort: skip
from .attention_map import (
    attention_matrix,
    attention_row,
    attention_statistics,
    class_token_maps,
    representative_footprints,
)
from .capture import Call, attention_layers, capture, feedforward_layers
from .coding_rate import RateCurves, coding_rate, compression_layers, compression_verdict, layer_rates, sparsity
from .complexity import activation_memory, count_flops, count_parameters, count_similarities
from .map_factors import Factors, map_factors
from .membership import gate_maps, hard_assignment, membership_maps, membership_statistics
from .patch_maps import patch_maps, to_pixels
from .perturbation import attention_projections, noise_sweep, perturbed, summarize
from .rank import Ranks, numerical_rank
from .rate_reduction import Reductions, cbsa_reduction, layer_reduction, representative_layers
from .subspaces import (
    affinity,
    column_coherence,
    orthonormality_error,
    principal_angles,
    subspace_bases,
    subspace_layers,
)
from .synthetic import iterate, make_classes
from .token_pca import principal_components, token_colours
from .what_if import disturbed
from .zero_shot import ZeroShotScores, jaccard, make_targets, mass_sets, score_image, score_maps

__all__ = [
    'Call', 'Factors', 'Ranks', 'RateCurves', 'Reductions', 'ZeroShotScores', 'activation_memory', 'affinity',
    'attention_layers', 'attention_matrix', 'attention_projections', 'attention_row', 'attention_statistics',
    'capture', 'cbsa_reduction', 'class_token_maps', 'coding_rate', 'column_coherence', 'compression_layers',
    'compression_verdict', 'count_flops', 'count_parameters', 'count_similarities', 'disturbed',
    'feedforward_layers', 'gate_maps', 'hard_assignment', 'iterate', 'jaccard', 'layer_rates', 'layer_reduction',
    'make_classes', 'make_targets', 'map_factors', 'mass_sets', 'membership_maps', 'membership_statistics',
    'noise_sweep', 'numerical_rank', 'orthonormality_error', 'patch_maps', 'perturbed', 'principal_angles',
    'principal_components', 'representative_footprints', 'representative_layers', 'score_image', 'score_maps',
    'sparsity', 'subspace_bases', 'subspace_layers', 'summarize', 'to_pixels', 'token_colours'
]
