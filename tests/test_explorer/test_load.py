"""Many clients for a minute: every answer is one, and neither process grows."""
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter

import httpx2
import pytest

from tests.configs import ROOT

from .conftest import save, wait_until

CLIENTS, SECONDS = 50, 60
KINDS = ['models', 'images', 'thumbnail', 'run', 'run', 'what if', 'what if', 'gone', 'upload']
SERVER = '''
import sys
from pathlib import Path
from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.jobs import Jobs
from mmwhitebox.explorer.listening import address_of, listen
from mmwhitebox.explorer.server import explorer_app, serve
from tests.test_explorer.stand_in import Large

if __name__ == '__main__':
    jobs = Jobs(['a', 'b'], Large)
    with listen('127.0.0.1', 0) as listening:
        print(address_of(listening, '127.0.0.1'), flush=True)
        serve(explorer_app(Pictures(sorted(Path(sys.argv[1]).iterdir()), sys.argv[1]), jobs), listening, jobs)
'''


def memory_of(pid: int) -> float:
    """MiB of a process and of its children."""
    words = ['ps', '-o', 'rss=', '--pid', str(pid), '--ppid', str(pid)]
    return sum(map(int, subprocess.run(words, capture_output=True, text=True).stdout.split())) / 1024


class Client(threading.Thread):
    """Asks for one thing after another, and sometimes goes away in the middle."""

    def __init__(self, address: str, images: list[str], upload: bytes, end: float, seed: int) -> None:
        super().__init__()
        self.address, self.images, self.upload, self.end = address, images, upload, end
        self.random, self.answers = random.Random(seed), Counter()

    def run(self) -> None:
        """Until the end."""
        with httpx2.Client(base_url=self.address, timeout=60) as client:
            while time.monotonic() < self.end:
                try:
                    kind, answer = self.ask(client)
                    said = answer.status_code < 400 or list(answer.json()) == ['error']
                    self.answers[kind, answer.status_code if said else 'no sentence'] += 1
                except httpx2.ReadTimeout:
                    self.answers['gone', 'gone'] += 1

    def ask(self, client: httpx2.Client) -> tuple[str, httpx2.Response]:
        """One request."""
        kind = self.random.choice(KINDS)
        image = self.random.choice(self.images)
        run = dict(model=self.random.choice('01'), image=image)
        if kind in ('models', 'images'):
            return kind, client.get(f'api/{kind}')
        if kind == 'thumbnail':
            return kind, client.get(f'api/images/{image}/thumbnail')
        if kind == 'upload':
            return kind, client.post('api/images', content=self.upload)
        if kind != 'run':
            run['what_if'] = [dict(kind='sleep', seconds=0.01)]
        return kind, client.post('api/run', content=json.dumps(run), timeout=0.05 if kind == 'gone' else 60)


@pytest.mark.slow
def test_fifty_clients_for_a_minute_leave_the_memory_flat(tmp_path):
    for number in range(10):
        save(tmp_path / 'pictures' / f'{number}.png', (300, 200), number)
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    words = [sys.executable, '-c', SERVER, tmp_path / 'pictures']
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT) as server:
        try:
            address = server.stdout.readline().strip()
            client = httpx2.Client(base_url=address, timeout=60)
            wait_until(lambda: all(model['ready'] is True for model in client.get('api/models').json()['models']))
            images = [image['id'] for image in client.get('api/images').json()['images']]
            for run in (dict(model=model, image=image) for model in '01' for image in images):
                assert client.post('api/run', json=run).status_code == 200  # what is remembered is remembered now
            upload = (tmp_path / 'pictures' / '0.png').read_bytes()
            end = time.monotonic() + SECONDS
            clients = [Client(address, images, upload, end, seed) for seed in range(CLIENTS)]
            for each in clients:
                each.start()
            memory = []
            while time.monotonic() < end:
                time.sleep(SECONDS / 20)
                memory.append(memory_of(server.pid))
            for each in clients:
                each.join()
            answers = sum((each.answers for each in clients), Counter())
            assert client.get('api/models').status_code == 200
        finally:
            server.kill()
    print(f'{sum(answers.values()) / SECONDS:.0f} answers a second; MiB: {" ".join(f"{each:.0f}" for each in memory)}; '
          f'{dict(sorted(answers.items(), key=str))}')
    assert {status for _, status in answers} <= {200, 201, 429, 503, 'gone'}
    assert answers['run', 200] > 100 and answers['what if', 200] > 100
    assert max(memory[10:]) < max(memory[:10]) + 30
