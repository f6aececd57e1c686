"""The dataset directory on disk or in a bucket: records, manifest, integrity, labels."""
