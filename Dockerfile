# The image of the API, beat and the migrations, without torch and ffmpeg. Dockerfile.gpu builds the workers' images.
FROM python:3.12.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /app
# First what the service needs, in a layer that stays in the build cache when the code changes.
COPY pyproject.toml constraints.txt ./
RUN touch README.md && /opt/venv/bin/pip install --constraint constraints.txt .
COPY . .
RUN /opt/venv/bin/pip install --no-deps --force-reinstall .

FROM python:3.12.13-slim-trixie
RUN useradd --uid 10001 --no-create-home adnerf && install --directory --mode 700 --owner adnerf /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ADNERF_DATA_DIR=/data
WORKDIR /data
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["adnerf", "api", "--host", "0.0.0.0"]
