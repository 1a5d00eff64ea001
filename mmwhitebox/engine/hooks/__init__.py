from .checkpoint import AtomicCheckpointHook
from .checks import TrainingChecksHook
from .compile import CompileHook, TF32Hook
from .ema import BesideEMAHook
from .exact_resume import ExactResumeHook
from .finite import FiniteHook
from .initial_weights import InitialWeightsHook
from .interpret import CodingRateHook, MembershipVisHook
from .predictions import LabelMapHook, PictureHook
from .removed import OneDNNHook
from .schedule import ScheduleHook
from .stop_on_signal import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook', 'BesideEMAHook', 'CodingRateHook', 'CompileHook', 'ExactResumeHook', 'FiniteHook',
    'InitialWeightsHook', 'LabelMapHook', 'MembershipVisHook', 'OneDNNHook', 'PictureHook', 'ScheduleHook',
    'StopOnSignalHook', 'TF32Hook', 'TrainingChecksHook'
]
