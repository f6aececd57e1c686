"""Make songs with a trained model; see --help."""

from lstm_gen.cli import generate

if __name__ == "__main__":
    generate.run()
