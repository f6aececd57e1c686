"""Train a model on a dataset; see --help."""

from lstm_gen.cli import train

if __name__ == "__main__":
    train.run()
