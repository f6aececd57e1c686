# TPU v2, v3 and v5e; built by `make image TENSORFLOW=tpu`.
FROM python:3.11-slim

COPY dist/lstm_gen.tar.gz /tmp/
RUN pip install --no-cache-dir "lstm_gen[tpu] @ file:///tmp/lstm_gen.tar.gz" \
 && rm /tmp/lstm_gen.tar.gz \
 # Path in TF_PLUGGABLE_DEVICE_LIBRARY_PATH of v5e jobs.
 && ln -s "$(python -c 'import importlib.util as u; print(u.find_spec("libtpu").submodule_search_locations[0])')/libtpu.so" /lib/libtpu.so

# TensorFlow's bucket client caches many GB by default on TPU hosts; shards are staged on disk before
# they are read, so a small cache is enough.
ENV GCS_READ_CACHE_BLOCK_SIZE_MB=16 \
    GCS_READ_CACHE_MAX_SIZE_MB=64

WORKDIR /job

CMD ["lstm_gen", "--help"]
