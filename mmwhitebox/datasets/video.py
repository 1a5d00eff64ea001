"""Frames of a video, by OpenCV."""
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmwhitebox.errors import ImageReadError, WriteError

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


class Video:
    """A video file; iterating reads its frames, (H, W, 3) uint8 BGR.

    Args:
        path (str | Path): File of a kind that OpenCV reads.

    Attributes:
        rate (float): Frames per second; 25 if the file does not say.

    Raises:
        ImageReadError: OpenCV cannot read it, or it has no frames.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        capture = cv2.VideoCapture(str(path))
        try:
            if not capture.isOpened() or not capture.grab():
                raise ImageReadError(f'{path}: OpenCV cannot read this video. Convert it to MP4 (H.264), or give its '
                                     'frames as images.')
            self.rate = capture.get(cv2.CAP_PROP_FPS) or 25.
            self.count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        finally:
            capture.release()

    def __len__(self) -> int:
        """Frames as the file states them, 0 if it does not."""
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = cv2.VideoCapture(str(self.path))
        try:
            while True:
                read, frame = capture.read()
                if not read:
                    return
                yield frame
        finally:
            capture.release()


class VideoWriter:
    """A context that writes an MP4 file.

    Args:
        path (str | Path): File to write.
        rate (float): Frames per second.
    """

    def __init__(self, path: str | Path, rate: float) -> None:
        self.path, self.rate, self.writer = path, rate, None

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, *error) -> None:
        if self.writer is not None:
            self.writer.release()

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 RGB; all frames have one size.

        Raises:
            WriteError: The file cannot be written.
        """
        if self.writer is None:
            size = frame.shape[1::-1]
            self.writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*'mp4v'), self.rate, size)
            if not self.writer.isOpened():
                raise WriteError(f'{self.path}: OpenCV cannot write this video.')
        self.writer.write(np.ascontiguousarray(frame[..., ::-1]))
