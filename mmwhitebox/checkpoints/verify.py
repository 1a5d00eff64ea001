"""Is a checkpoint whole, and which one of a folder does a training continue from?"""
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from mmwhitebox.errors import CheckpointError

from .archive import check_sums
from .loading import safe_load

POINTER = 'last_checkpoint'  # mmengine's file that names the last checkpoint of a work dir


def peek(path: Path, trust: bool = False) -> dict:
    """A checkpoint with its tensors left in the file.

    Raises:
        CheckpointError: It cannot be read.
    """
    mapped = zipfile.is_zipfile(path)
    try:
        return safe_load(path, mmap=mapped)
    except CheckpointError:
        if not trust:
            raise
    try:
        return torch.load(path, map_location='cpu', weights_only=False, mmap=mapped)
    except Exception as error:
        raise CheckpointError(f'Checkpoint {path} cannot be read ({error}).') from error


def verify_checkpoint(path: str | Path, trust: bool = False) -> dict:
    """Read every byte of a checkpoint and compare the checksums; files of torch < 1.6 have none and are loaded.

    Args:
        path (str | Path): A ``.pth`` file.
        trust (bool): Unpickle whatever the file holds, which can run code. Defaults to False.

    Returns:
        dict: The checkpoint. Its tensors are mapped from the file and not in memory.

    Raises:
        CheckpointError: It is missing, truncated, damaged, no checkpoint, or not made of weights only.
    """
    path = Path(path).expanduser()
    checkpoint = peek(path, trust)
    if zipfile.is_zipfile(path):
        check_sums(path)
    return checkpoint


def why_no_training_state(checkpoint: object, needs_optimizer: bool) -> str | None:
    """What a checkpoint lacks to continue a training from it; None if nothing."""
    if not isinstance(checkpoint, dict):
        return 'it is no checkpoint of a training'
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict) or not all(isinstance(meta.get(key), int) for key in ('epoch', 'iter')):
        return 'it does not say at which iteration it was written'
    if 'message_hub' not in checkpoint or 'state_dict' not in checkpoint:
        return 'it holds weights alone, no state of a training'
    if needs_optimizer and 'optimizer' not in checkpoint:
        return 'it holds weights alone, no state of the optimizer'
    return None


class Candidate(NamedTuple):
    """A checkpoint to continue from, as far as its head tells; it may still be damaged.

    The first four say its age, from old to new: at the same iteration, those without a problem are the newer ones.
    """
    iteration: int
    usable: bool
    time: str  # sorts by time: YYYYMMDD_HHMMSS
    name: str
    path: Path
    problem: str | None


def survey(folders: Sequence[Path], needs_optimizer: bool, trust: bool) -> tuple[list[Candidate], list[str]]:
    """The candidates of some folders, the newest first, and one line for every file that cannot be read."""
    candidates, unreadable = [], []
    for path in sorted({path for folder in folders for path in folder.glob('*.pth')}):
        try:
            checkpoint = peek(path, trust)
        except CheckpointError as error:
            unreadable.append(str(error))
            continue
        problem = why_no_training_state(checkpoint, needs_optimizer)
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        iteration = meta.get('iter') if isinstance(meta.get('iter'), int) else -1
        candidates.append(Candidate(iteration, problem is None, str(meta.get('time', '')), path.name, path, problem))
    return sorted(candidates, key=lambda candidate: candidate[:4], reverse=True), unreadable


def newest_checkpoint(
        folders: Sequence[str | Path], needs_optimizer: bool = True,
        trust: bool = False) -> tuple[Path | None, list[str]]:
    """The checkpoint of the highest iteration in some folders that is whole.

    A file that ``last_checkpoint`` does not know, of a higher iteration but written before the one that it names, is
    a leftover of an earlier training in the same folder and no progress of this one. **reading**

    Args:
        folders (Sequence[str | Path]): The first is the work dir with the file ``last_checkpoint``.
        needs_optimizer (bool): Pass over checkpoints without the state of an optimizer. Defaults to True.
        trust (bool): As in :func:`verify_checkpoint`. Defaults to False.

    Returns:
        tuple[Path | None, list[str]]: The checkpoint, None if there is none; one line for every file that was
        passed over: the unreadable ones, and the newer ones that cannot be used.
    """
    folders = [Path(folder) for folder in folders]
    candidates, lines = survey(folders, needs_optimizer, trust)
    pointer = folders[0] / POINTER
    named = Path(pointer.read_text(errors='replace').strip()).name if pointer.is_file() else ''
    last = next((candidate for candidate in candidates if candidate.name == named), None)
    for candidate in candidates:
        problem = candidate.problem
        if problem is None and last is not None and candidate.iteration > last.iteration and \
                '' < candidate.time < last.time:
            problem = f'it was left by an earlier training, before {last.name} was written'
        if problem is None:
            try:
                verify_checkpoint(candidate.path, trust)
                return candidate.path, lines
            except CheckpointError as error:
                lines.append(str(error))
        else:
            lines.append(f'Checkpoint {candidate.path} was skipped: {problem}.')
    return None, lines
