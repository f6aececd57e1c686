"""Console command `lstm_gen`: every command as a subcommand."""

from lstm_gen.cli import command

if __name__ == "__main__":
    command.run_subcommand()
