# CPUs and NVIDIA GPUs; built by `make image`. A job runs a console command of the package:
#   docker run IMAGE train_model --preset=tiny --data_dir=dataset
FROM python:3.11-slim

# For M4A and other formats that libsndfile does not read.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ffmpeg \
 && rm -rf /var/lib/apt/lists/*

COPY dist/lstm_gen.tar.gz /tmp/
RUN pip install --no-cache-dir "lstm_gen[gpu] @ file:///tmp/lstm_gen.tar.gz" \
 && rm /tmp/lstm_gen.tar.gz

WORKDIR /job

# No ENTRYPOINT: a job names its command.
CMD ["lstm_gen", "--help"]
