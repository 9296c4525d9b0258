# The page and the API of an exported model: no TensorFlow, no root, 0.4 GB.
#
#   flowers export --format litert-int8        # writes models/flowers.int8.tflite
#   docker build -t flowers .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp --memory 512m flowers
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The versions of requirements.lock, of which only the few packages for serving are installed.
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY src src
RUN sed -E '/^ +--hash/d; s/ \\$//' requirements.lock > /tmp/versions.txt \
 && pip install --constraint /tmp/versions.txt '.[serve]' \
 && rm /tmp/versions.txt

COPY models/flowers.int8.tflite models/flowers.json models/
ENV FLOWERS_MODEL=/app/models/flowers.int8.tflite

RUN useradd --system --uid 10001 --no-create-home flowers
USER 10001

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD \
  ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8000}/livez\", timeout=2)"]
CMD ["gunicorn", "--config", "python:flowers.web.gunicorn_settings"]
