"""Where inputs and outputs live: this machine or a Google Cloud Storage bucket."""

from absl import flags

from lstm_gen.platform import storage

_READ_LOCAL = flags.DEFINE_boolean(
    "read_local",
    True,
    "Read inputs from this machine. --read_local=false reads them under gs://GCS_BUCKET/. A path "
    "that starts with gs:// is always taken as it is, and /gcs/NAME/ is gs://NAME/.",
)
_WRITE_LOCAL = flags.DEFINE_boolean(
    "write_local",
    None,
    "Write outputs to this machine; --write_local=false writes them under gs://GCS_BUCKET/. "
    "Follows --read_local when not given.",
)
_GCS_BUCKET = flags.DEFINE_string(
    "gcs_bucket",
    "",
    "Google Cloud Storage bucket of the paths that are not local, with or without gs://. Log in "
    "with `gcloud auth application-default login`, or name a key file in "
    "GOOGLE_APPLICATION_CREDENTIALS.",
)


def input_path(path: str) -> str:
    """Return where an input path really is."""
    return storage.resolve(path, _READ_LOCAL.value, _GCS_BUCKET.value)


def output_path(path: str) -> str:
    """Return where an output path really is."""
    local = _READ_LOCAL.value if _WRITE_LOCAL.value is None else _WRITE_LOCAL.value
    return storage.resolve(path, local, _GCS_BUCKET.value)
