"""Logged values on a disk that may fill up."""
import logging
import os
from pathlib import Path

from mmengine.logging import print_log
from mmengine.visualization import LocalVisBackend

from mmwhitebox.registry import VISBACKENDS


@VISBACKENDS.register_module()
class TolerantVisBackend(LocalVisBackend):
    """mmengine's ``LocalVisBackend``, for which a full disk is no reason to end a training.

    Values that cannot be written are left out, with one warning for each stretch of failures; half a line is taken
    back, so the JSON files stay readable.

    Args:
        save_dir (str): Folder to write to. mmengine's visualizer goes by its name: without a folder it leaves the
            backend out.
        **kwargs: Other arguments of ``LocalVisBackend``.
    """

    def __init__(self, save_dir: str, **kwargs) -> None:
        super().__init__(save_dir, **kwargs)
        self.failing = False

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        path = Path(file_path)
        size = path.stat().st_size if path.is_file() else 0
        try:
            super()._dump(value_dict, file_path, file_format)
            self.failing = False
        except OSError as error:
            if path.is_file():
                os.truncate(path, size)
            if not self.failing:
                print_log(f'Logged values are missing from {file_path} ({error.strerror}). Training goes on.',
                          logger='current', level=logging.WARNING)
            self.failing = True
