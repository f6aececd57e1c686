"""What holds for every test: one back end, no accelerator, no display, quiet logs."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's keras.json says
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
