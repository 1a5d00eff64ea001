"""The queue, and a process that may end at any moment."""
import asyncio
import contextlib
import gc
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from mmwhitebox.explorer import jobs as jobs_module
from mmwhitebox.explorer.images import Pictures
from mmwhitebox.explorer.jobs import Jobs
from mmwhitebox.explorer.listening import listen
from mmwhitebox.explorer.process import JobError
from mmwhitebox.explorer.runs import Asked
from mmwhitebox.explorer.server import explorer_app
from tests.configs import ROOT

from .conftest import explorer, run, save, wait_until
from .stand_in import StandIn, no_models

SLOW, QUICK, DIE = dict(kind='sleep', seconds=0.3), dict(kind='none'), dict(kind='die')


def asked(*what_if: dict, model: int = 0, image: str = 'a') -> Asked:
    """A run."""
    return Asked(model, image, image, b'', what_if)


@contextlib.asynccontextmanager
async def running(models: int = 1, args: tuple = (), factory=StandIn):
    """Jobs whose models have been loaded, as far as that goes."""
    jobs = Jobs([f'model {i}' for i in range(models)], factory, args)
    jobs.start()
    jobs.load(Pictures())
    try:
        await asyncio.wait_for(jobs.loading, 20)
        yield jobs
    finally:
        jobs.stop()


async def count(task) -> int:
    """How many runs had been done when an answer was made."""
    return json.loads(await task)['count']


def ended(pid: int) -> bool:
    """Whether a process is no more."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except OSError:
        return True


def in_loop(test):
    """A test that is a coroutine, in a loop of its own."""
    def run_test() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))
    run_test.__name__ = test.__name__
    return run_test


@in_loop
async def test_runs_take_their_turns():
    async with running() as jobs:
        tasks = [asyncio.create_task(jobs.explore(asked(item))) for item in (SLOW, QUICK, QUICK)]
        assert [await count(task) for task in tasks] == [1, 2, 3]
        assert jobs.waiting == 0


@in_loop
async def test_one_that_waits_is_dropped_when_nobody_wants_it_any_more():
    async with running() as jobs:
        tasks = [asyncio.create_task(jobs.explore(asked(item))) for item in (SLOW, QUICK, QUICK)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        assert await count(tasks[2]) == 2
        assert jobs.waiting == 0 and not jobs.turn.locked()


@in_loop
async def test_one_that_runs_is_run_to_its_end():
    async with running() as jobs:
        slow = asyncio.create_task(jobs.explore(asked(SLOW)))
        await asyncio.sleep(0.05)
        slow.cancel()
        assert await count(jobs.explore(asked(QUICK))) == 2
        assert not jobs.turn.locked()


@in_loop
async def test_the_same_run_twice_at_once_is_done_once():
    async with running() as jobs:
        counts = await asyncio.gather(*[count(jobs.explore(asked())) for _ in range(4)])
        assert counts == [1] * 4


def test_the_queue_is_limited(shared, monkeypatch):
    monkeypatch.setattr(jobs_module, 'MAX_WAITING', 2)

    @in_loop
    async def scenario():
        async with running() as jobs:
            tasks = [asyncio.create_task(jobs.explore(asked(SLOW))) for _ in range(3)]
            with pytest.raises(JobError, match='2 runs are waiting') as refused:
                await tasks[2]
            assert refused.value.status == 429
            assert [await count(task) for task in tasks[:2]] == [1, 2]
    scenario()


@in_loop
async def test_a_killed_process_is_started_again_and_what_waited_gets_an_answer():
    async with running(2) as jobs:
        pid = json.loads(await jobs.explore(asked(QUICK)))['pid']
        tasks = [asyncio.create_task(jobs.explore(asked(item))) for item in (DIE, QUICK, QUICK)]
        for task in tasks:
            with pytest.raises(JobError) as told:
                await task
            assert told.value.status == 503
        assert {state['ready'] for state in jobs.states} == {'loading'}
        await jobs.loading
        answers = [json.loads(await jobs.explore(asked(QUICK, model=model))) for model in (0, 1)]
        assert [answer['count'] for answer in answers] == [1, 2] and answers[0]['pid'] != pid


@in_loop
async def test_a_process_killed_while_nobody_asked_is_started_again():
    async with running() as jobs:
        os.kill(jobs.home.process.pid, signal.SIGKILL)
        jobs.home.process.join()
        with pytest.raises(JobError, match='started again'):
            await jobs.explore(asked(QUICK))
        await jobs.loading
        assert await count(jobs.explore(asked(QUICK))) == 1


@in_loop
async def test_a_process_that_dies_again_and_again_is_started_again_and_again():
    async with running() as jobs:
        for _ in range(3):
            with pytest.raises(JobError):
                await jobs.explore(asked(DIE))
            await jobs.loading
        assert await count(jobs.explore(asked(QUICK))) == 1


@in_loop
async def test_a_model_that_kills_the_process_is_given_up_and_the_others_are_there():
    async with running(3, ((), (), (1, ))) as jobs:
        assert [state['ready'] for state in jobs.states] == [True, 'failed', True]
        assert 'memory' in jobs.states[1]['message']
        assert await count(jobs.explore(asked(QUICK, model=2))) == 1


@in_loop
async def test_a_process_that_cannot_begin_is_given_up():
    async with running(2, factory=no_models) as jobs:
        assert [state['ready'] for state in jobs.states] == ['failed', 'failed']


@in_loop
async def test_stopping_ends_the_process_at_once_with_what_runs_in_it():
    async with running() as jobs:
        task = asyncio.create_task(jobs.explore(asked(dict(kind='sleep', seconds=5))))
        await asyncio.sleep(0.05)
        start = time.monotonic()
        jobs.stop()
        with pytest.raises(JobError, match='ending'):
            await task
        jobs.home.process.join()
        assert time.monotonic() - start < 1


def test_a_server_that_ends_while_models_are_loaded_says_nothing_of_it(caplog):
    @in_loop
    async def scenario():
        jobs = Jobs(['a'], StandIn)
        jobs.start()
        jobs.load(Pictures())
        await asyncio.sleep(0.01)
        jobs.stop()

    scenario()
    gc.collect()
    assert not caplog.records


@in_loop
async def test_it_is_stopped_while_it_starts():
    jobs = Jobs(['a'], StandIn)
    jobs.start()
    jobs.load(Pictures())
    await asyncio.sleep(0.01)
    jobs.stop()
    wait_until(lambda: ended(jobs.home.process.pid))


def test_the_process_does_not_outlive_the_server():
    code = ('import time; from mmwhitebox.explorer.jobs import Jobs; from tests.test_explorer.stand_in import StandIn\n'
            "if __name__ == '__main__':\n"
            "    jobs = Jobs(['a'], StandIn); jobs.start(); print(jobs.home.process.pid, flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        pid = int(server.stdout.readline())
        server.kill()
    wait_until(lambda: ended(pid))


def test_ctrl_c_of_a_terminal_is_the_servers_alone_from_the_first_moment():
    code = ('import signal, time\n'
            'from mmwhitebox.explorer.jobs import Jobs; from tests.test_explorer.stand_in import StandIn\n'
            "if __name__ == '__main__':\n"
            '    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a job in the background\n'
            "    jobs = Jobs(['a'], StandIn)\n"
            '    try:\n'
            '        jobs.start(); print(jobs.home.process.pid, flush=True); time.sleep(60)\n'
            '    except KeyboardInterrupt:\n'
            '        time.sleep(0.5); print(jobs.home.process.is_alive(), flush=True); jobs.stop()')
    with subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as server:
        server.stdout.readline()
        os.killpg(server.pid, signal.SIGINT)
        assert server.communicate() == ('True\n', '')


def test_two_pages_at_once(shared):
    image, found = shared.names['b.jpg'], []
    threads = [threading.Thread(target=lambda i=i: found.append(run(shared, image, dict(kind='none', i=i)).json()))
               for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer['what_if'][0]['i'] for answer in found) == [*range(6)]


def test_the_page_hears_of_a_killed_process_and_then_works_again(tmp_path):
    with explorer(Pictures([save(tmp_path / 'a.png')])) as client:
        image = next(iter(client.pictures.listed))
        answer = run(client, image, DIE)
        assert answer.status_code == 503 and answer.headers['retry-after'] == '1'
        wait_until(lambda: client.get('/api/models').json()['models'][0]['ready'] is True)
        assert run(client, image, QUICK).status_code == 200


def test_a_model_that_is_being_loaded_says_so(shared, monkeypatch):
    monkeypatch.setitem(shared.jobs.states[0], 'ready', 'loading')
    answer = run(shared, shared.names['a.png'], QUICK)
    assert answer.status_code == 503 and answer.json()['error'] == 'The model is still being loaded.'


@contextlib.contextmanager
def served(pictures: Pictures):
    """Port and jobs of an explorer that a real server serves."""
    jobs = Jobs(['a'], StandIn)
    with listen('127.0.0.1', 0) as listening:
        server = uvicorn.Server(uvicorn.Config(explorer_app(pictures, jobs), log_config=None, http='h11', ws='none'))
        thread = threading.Thread(target=server.run, args=([listening], ))
        thread.start()
        try:
            wait_until(lambda: jobs.states[0]['ready'] is True)
            yield listening.getsockname()[1], jobs
        finally:
            server.should_exit = True
            thread.join()


def ask(port: int, image: str, what_if: dict) -> http.client.HTTPConnection:
    """A connection on which a run is asked for."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
    connection.request('POST', '/api/run', json.dumps(dict(model='0', image=image, what_if=[what_if])))
    return connection


def test_a_closed_tab_leaves_the_queue(tmp_path):
    pictures = Pictures([save(tmp_path / 'a.png')])
    image = next(iter(pictures.listed))
    with served(pictures) as (port, jobs):
        slow = ask(port, image, dict(kind='sleep', seconds=1))
        wait_until(jobs.turn.locked)
        gone = ask(port, image, QUICK)
        wait_until(lambda: jobs.waiting == 2)
        gone.close()
        wait_until(lambda: jobs.waiting == 1)
        last = ask(port, image, QUICK)
        assert json.loads(slow.getresponse().read())['count'] == 1
        assert json.loads(last.getresponse().read())['count'] == 2


def test_a_body_that_breaks_off_is_survived(tmp_path):
    with served(Pictures()) as (port, jobs):
        for length in (10, 10**6):
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
            connection.putrequest('POST', '/api/images')
            connection.putheader('Content-Length', str(length))
            connection.endheaders(b'abc')
            connection.close()
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
        connection.request('GET', '/api/models')
        assert connection.getresponse().status == 200
        connection.close()
