"""A PyTorch training step that waits to be told: one line in, the seconds of one step out.

A process of its own, so that its threads and TensorFlow's are never at work together.
Run by `benchmarks.lstm_step` as `python -m benchmarks.torch_lstm < pipe`; the first line names the
batch size.
"""

import sys
import time

import torch

_FRAMES, _MELS, _UNITS, _LAYERS = 256, 128, 512, 2


def main() -> None:
    """Answer each line on stdin with the seconds that a step took."""
    # Frames first is what torch computes in; batch first would cost it a transposition.
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
