# Processors and NVIDIA GPUs. `make image` builds it; a job's command is one of the three commands:
#   docker run IMAGE train_model --help
FROM python:3.11-slim

# For M4A and what else libsndfile does not read.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ffmpeg \
 && rm -rf /var/lib/apt/lists/*

COPY dist/lstm_gen.tar.gz /tmp/
RUN pip install --no-cache-dir "lstm_gen[gpu] @ file:///tmp/lstm_gen.tar.gz" \
 && rm /tmp/lstm_gen.tar.gz

# Where --flagfile=flags/presets/NAME.flags finds them.
WORKDIR /job
COPY flags/presets flags/presets

# No ENTRYPOINT: a job names its command itself.
CMD ["train_model", "--help"]
