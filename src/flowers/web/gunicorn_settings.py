"""gunicorn's settings: `gunicorn --config python:flowers.web.gunicorn_settings`.

One process with threads: the model is held once, and the queue and the counts are of one piece.
Not preloaded: the model is opened in the process that runs it. A proxy belongs in front, which
receives uploads before it passes them on: a thread here waits for a slow client.
"""

import os
from pathlib import Path

from flowers.web.limits import PageLimits

_limits = PageLimits()

wsgi_app = "flowers.web.wsgi:create()"
bind = f"0.0.0.0:{os.environ.get('PORT') or 8000}"
worker_class = "gthread"
workers = 1
threads = _limits.threads
worker_connections = _limits.connections
timeout = 60  # seconds without a sign of life until the process is started anew
graceful_timeout = int(_limits.seconds)  # seconds to finish what is at work
keepalive = 5  # seconds
limit_request_line = 4096  # bytes
limit_request_field_size = 8190  # bytes
limit_request_fields = 50
control_socket_disable = True  # it would be a file in a home that a container does not have
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"  # the sign of life; a container's disk may stall
