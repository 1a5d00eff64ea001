"""Which images are this process's, of several that share them."""
import os
import re
from hashlib import blake2b
from typing import NamedTuple

from mmwhitebox.errors import UserError


class Shard(NamedTuple):
    """One of ``count`` processes, ``index`` from 0; an image is of exactly one, whatever the others see."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f'{self.index}-of-{self.count}'

    def owns(self, name: str) -> bool:
        """Whether the image whose outputs have this name is the process's: a checksum of the name says it, so that
        images which come or go meanwhile move no other."""
        digest = blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=8).digest()
        return int.from_bytes(digest, 'big') % self.count == self.index


def chosen_shard(text: str | None) -> tuple[Shard, bool]:
    """The shard that ``--shard I/N`` names, else a launcher's, of RANK and WORLD_SIZE; and whether it is the latter.

    Raises:
        UserError: It is none.
    """
    if text is not None:
        match = re.fullmatch(r'(\d+)/(\d+)', text.strip())
        if not match or not int(match[1]) < int(match[2]):
            raise UserError(f'--shard {text}: give I/N, I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 are four processes.')
        return Shard(int(match[1]), int(match[2])), False
    rank, count = os.environ.get('RANK', '0'), os.environ.get('WORLD_SIZE', '1')
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise UserError(f'RANK={rank} and WORLD_SIZE={count} of the environment name no process: give --shard I/N, '
                        '--shard 0/1 for one alone.')
    return Shard(int(rank), int(count)), int(count) > 1
