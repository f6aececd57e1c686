# TPU VMs, versions 2, 3 and 5e. `make image TENSORFLOW=tpu` builds it.
FROM python:3.11-slim

COPY dist/lstm_gen.tar.gz /tmp/
RUN pip install --no-cache-dir "lstm_gen[tpu] @ file:///tmp/lstm_gen.tar.gz" \
 && rm /tmp/lstm_gen.tar.gz \
 # Where jobs on version 5e are told to look for it.
 && ln -s "$(python -c 'import importlib.util as u; print(u.find_spec("libtpu").submodule_search_locations[0])')/libtpu.so" /lib/libtpu.so

# TensorFlow's client for buckets is built for TPU hosts with a cache of many GB; shards are
# fetched before they are read, so a small one does.
ENV GCS_READ_CACHE_BLOCK_SIZE_MB=16 \
    GCS_READ_CACHE_MAX_SIZE_MB=64

WORKDIR /job
COPY flags/presets flags/presets

CMD ["train_model", "--help"]
