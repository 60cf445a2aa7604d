# One image for both web apps; compose.yaml says which command runs in which container.
#
#     docker build -t face-recognition .
#     docker run --rm -p 8000:8000 face-recognition                          # two pictures, one answer, nothing kept
#     docker run --rm -p 8501:8501 -v people:/data face-recognition \
#         streamlit run apps/streamlit/app.py --server.address=0.0.0.0       # the database of people

FROM python:3.11-slim-bookworm AS packages

RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /course
COPY requirements.txt requirements-apps.txt ./
RUN pip install -r requirements-apps.txt


FROM python:3.11-slim-bookworm

# Nobody in particular, with a home for what libraries keep there, and a folder for the database.
RUN groupadd --gid 10001 faces \
    && useradd --uid 10001 --gid faces --create-home --home-dir /faces faces \
    && install -d -o faces -g faces /data /cache
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    KERAS_HOME=/cache/keras \
    MPLCONFIGDIR=/cache/matplotlib \
    FACES_DATABASE=/data/people.db

# The weights lie in the repository: a container downloads nothing.
WORKDIR /course
COPY . .

USER 10001:10001
VOLUME /data
EXPOSE 8000 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "tools/healthy.py"]
CMD ["python", "-m", "apps.flask", "--host", "0.0.0.0"]
