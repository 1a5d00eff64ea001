from . import gone  # noqa: F401
from .checkpoint import AtomicCheckpointHook
from .compile import CompileHook, TF32Hook
from .ema import BesideEMAHook
from .exact_resume import ExactResumeHook
from .finite import FiniteHook
from .initial_weights import InitialWeightsHook
from .interpret import CodingRateHook, MembershipVisHook, ReconstructionVisHook
from .predictions import LabelMapHook, PictureHook
from .schedule import ScheduleHook
from .stop_signals import StopOnSignalHook
from .training_checks import TrainingChecksHook
from .validation_classes import ValidationClassesHook
from .visualization import SegVisualizationHook

__all__ = [
    'AtomicCheckpointHook', 'BesideEMAHook', 'CodingRateHook', 'CompileHook', 'ExactResumeHook', 'FiniteHook',
    'InitialWeightsHook', 'LabelMapHook', 'MembershipVisHook', 'PictureHook', 'ReconstructionVisHook', 'ScheduleHook',
    'SegVisualizationHook', 'StopOnSignalHook', 'TF32Hook', 'TrainingChecksHook', 'ValidationClassesHook'
]
