"""PyTorch LSTM training step, one per line on stdin; prints the seconds of each step.

A separate process, so that its threads and TensorFlow's never compete. `benchmarks.lstm_step` runs
it as `python -m benchmarks.torch_lstm < pipe`; the first line is the batch size.
"""

import sys
import time

import torch

_FRAMES, _MELS, _UNITS, _LAYERS = 256, 128, 512, 2


def main() -> None:
    """Take a step for each line on stdin and print its seconds."""
    # torch computes time-major; batch-major would cost a transposition.
    batch_size = int(sys.stdin.readline())
    recurrent = torch.nn.LSTM(_MELS, _UNITS, _LAYERS)
    dense = torch.nn.Linear(_UNITS, _MELS)
    parameters = [*recurrent.parameters(), *dense.parameters()]
    optimizer = torch.optim.Adam(parameters, fused=True)
    inputs, targets = torch.randn(2, _FRAMES, batch_size, _MELS)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(dense(recurrent(inputs)[0]), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
