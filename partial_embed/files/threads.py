"""Threads for what goes on beside other work, or in turn with it where none can be started."""

from concurrent.futures import Future, ThreadPoolExecutor


def threads(count):
    """Returns a `ThreadPoolExecutor`, or what does a task at once that is submitted to it.

    The latter where Python starts no more threads, as when it ends: scripts save at exit, too.

    Args:
        count: int, how many threads.
    """
    pool = ThreadPoolExecutor(count)
    try:
        pool.submit(int)
    except RuntimeError:
        return _AtOnce()
    return pool


class _AtOnce(ThreadPoolExecutor):
    def __init__(self):
        super().__init__(1)

    def submit(self, task, *arguments):
        future = Future()
        try:
            future.set_result(task(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future
