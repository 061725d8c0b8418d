"""Gunicorn's settings: `gunicorn -c python:config.gunicorn config.asgi:application`."""

import gc
from typing import Any

from config import env

bind = [f"{env.text('HOST', '127.0.0.1')}:{env.whole('PORT', 8000)}"]
workers = env.whole("WEB_CONCURRENCY", 1)
worker_class = "config.worker.DrainingWorker"
asgi_loop = "uvloop"
http_parser = "fast"  # gunicorn-h1c, in C
preload_app = False  # connections and the event loop belong to each worker

# Streams live for minutes; on SIGTERM they get this long, and are ended in good order before.
graceful_timeout = env.whole("GRACEFUL_SECONDS", 20)
timeout = 60
keepalive = 75  # longer than a load balancer's, which otherwise sends into a closing connection
# The relay settles for a client that left when its task is cancelled: at once, not in 3 seconds.
asgi_disconnect_grace_period = 0

# Whom to believe X-Forwarded-For and -Proto: nobody unless told.
forwarded_allow_ips = env.text("FORWARDED_ALLOW_IPS", "127.0.0.1")
limit_request_line = 8_190
# Nothing steers it by a socket, which would lie in the home folder, one for all services there.
control_socket_disable = True
accesslog = None  # a line for each request costs more than the request; usage records tell more


def post_worker_init(_worker: Any) -> None:
    """Spare the collector of cycles what it would look through in vain (measured: 8 % CPU).

    What is loaded by now stays for good, and requests leave next to no cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
