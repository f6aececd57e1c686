"""Turn a folder of recordings into a TFRecord dataset of frames; see --help."""

from lstm_gen.cli import prepare

if __name__ == "__main__":
    prepare.run()
