"""What a Runner shows of its log: the head is short; config, environment and hooks stand in the log file."""
import logging

from mmengine.logging import MMLogger
from mmengine.runner import Runner

FOR_THE_FILE = (
    '\n------------------------------------------------------------\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order:',
    'Distributed training is not used, all SyncBatchNorm',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)


def for_people(record: logging.LogRecord) -> bool:
    """Whether a message of mmengine is one to show."""
    return not record.getMessage().startswith(FOR_THE_FILE)


class ConsoleRunner(Runner):
    """mmengine's ``Runner``; its log file holds all, the console what a person follows."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """mmengine's logger, with a filter on its console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(for_people)
        return logger

    def say_head(self) -> None:
        """One line: the size of the model, where it runs, where the rest stands."""
        count = sum(parameter.numel() for parameter in self.model.parameters())
        device = next(self.model.parameters()).device
        self.logger.info(f'{count / 1e6:.2f} M parameters on {device}, {self.world_size} process(es). Config, '
                         f'environment and all that follows: {self.logger.log_file or self.log_dir}')
