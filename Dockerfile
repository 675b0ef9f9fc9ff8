# syntax=docker/dockerfile:1

FROM python:3.11-slim AS requirements
WORKDIR /build
COPY pyproject.toml .
# In a file of their own, so that the next stage is rebuilt only when the requirements or their releases change.
RUN python -c "import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; print(*extras['server'], *extras['telemetry'], sep='\n')" > requirements.txt

FROM python:3.11-slim AS environment
# Optional: an index with other builds of torch. Those for CPUs make a smaller image.
ARG PIP_EXTRA_INDEX_URL=""
RUN python -m venv /opt/venv
COPY constraints.txt /build/
COPY --from=requirements /build/requirements.txt /build/
# PyTorch's tests and C++ headers are not needed.
RUN --mount=type=cache,target=/root/.cache/pip /opt/venv/bin/pip install -c /build/constraints.txt -r /build/requirements.txt \
    && rm -rf /opt/venv/lib/python3.11/site-packages/torch/test /opt/venv/lib/python3.11/site-packages/torch/include

FROM python:3.11-slim
# Fixed ids, so that a folder of the host can be made writable for them.
RUN groupadd --system --gid 10001 eddylift \
    && useradd --system --uid 10001 --gid 10001 --no-create-home eddylift \
    && install --directory --owner eddylift --group eddylift /data
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    EDDYLIFT_DATA=/data
WORKDIR /app
COPY --from=environment /opt/venv /opt/venv
# What changes least comes first. Readable by everyone, whatever the umask of the clone.
COPY --chmod=755 LICENSE ./
COPY --chmod=755 weights weights
COPY --chmod=755 models models
COPY --chmod=755 service service
USER 10001:10001
EXPOSE 8000
# It is ready 2 s after its start on two idle cores; the minute is for a cold disk and a GPU. Not urllib, which asks the
# proxy of $http_proxy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "service"]
# Listens on all addresses of the container, so it starts only if EDDYLIFT_TOKENS is set (a file, or off).
CMD ["--host", "0.0.0.0", "--port", "8000"]
