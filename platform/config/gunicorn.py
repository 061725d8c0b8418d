"""Gunicorn's settings: `gunicorn -c python:config.gunicorn config.asgi:application`."""

import gc
import os
import shutil
import tempfile
from typing import Any

from config import env

bind = [f"{env.text('HOST', '127.0.0.1')}:{env.integer('PORT', 8000)}"]
workers = env.integer("WEB_CONCURRENCY", 1)
worker_class = "config.worker.DrainingWorker"
asgi_loop = "uvloop"
http_parser = "fast"  # gunicorn-h1c, in C
preload_app = False  # connections and the event loop belong to each worker

# Streams run for minutes. After SIGTERM they have this long, and are ended cleanly before.
graceful_timeout = env.integer("GRACEFUL_SECONDS", 20)
timeout = 60
keepalive = 75  # longer than a load balancer's, which otherwise sends into a closing connection
# A client that disconnects is settled when its task is cancelled: at once, not in 3 seconds.
asgi_disconnect_grace_period = 0

# The proxies whose X-Forwarded-For and -Proto are trusted.
forwarded_allow_ips = env.text("FORWARDED_ALLOW_IPS", "127.0.0.1")
limit_request_line = 8_190
# Unused; its socket would be in the home folder, shared by all services there.
control_socket_disable = True
accesslog = None  # a line costs more than the request itself, and usage records say more


def post_worker_init(_worker: Any) -> None:
    """Freeze the objects loaded so far, for the garbage collector to skip (measured: 8% CPU).

    They live as long as the process, and requests leave almost no cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


# Where workers share their metrics; the name is prometheus_client's.
_METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(_server: Any) -> None:
    """Create the folder in which workers share their metrics, empty at each start."""
    os.environ[_METRICS_DIR] = tempfile.mkdtemp(prefix="tollgate-metrics-")


def child_exit(_server: Any, worker: Any) -> None:
    """Drop a worker's gauges; its counters are kept."""
    from prometheus_client import multiprocess  # noqa: PLC0415  # it reads the variable

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Remove the folder."""
    shutil.rmtree(os.environ.get(_METRICS_DIR, ""), ignore_errors=True)
