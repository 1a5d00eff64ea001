"""Which steps of a pipeline read the masks, whatever their classes are called."""
from collections.abc import Callable, Sequence

import numpy as np
from mmseg.datasets import BaseSegDataset

TRIED = 12  # samples that may show it: the files of some may be broken


def steps_that_read_masks(steps: Sequence[Callable], dataset: BaseSegDataset) -> list[Callable]:
    """The first steps of a pipeline, up to the one after which a sample has a ``gt_seg_map``; none if there is none.

    Args:
        steps (Sequence[Callable]): Built steps.
        dataset (BaseSegDataset): Fully initialised.
    """
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(TRIED, len(dataset)), dtype=int)).tolist():
        results = {**dataset.get_data_info(index), 'seg_fields': []}
        for number, step in enumerate(steps, 1):
            try:
                results = step(results)
            except Exception:  # of a file that is judged later, or a step that needs more than one sample
                break
            if not isinstance(results, dict):
                break
            if 'gt_seg_map' in results:
                return list(steps[:number])
    return []
