"""A run's pictures of the same sounds, one after the other, as a GIF."""

import io
import itertools
import re

from PIL import Image

from lstm_gen.platform import storage

NAME = "training.gif"
_PICTURE = re.compile(r"step-(?P<step>\d+)-(?P<what>clip|song)-(?P<index>\d+)\.png")
_WIDTH = 640
_MOST_FRAMES = 60
_COLOURS = 64
_MILLISECONDS, _LAST_MILLISECONDS = 400, 2000


def write(directory: str) -> str:
    """Write `training.gif` from the pictures that are in a directory, however they came there.

    Held-out clips as the model gives them back, where there are any, else songs; those of one step
    are one picture, one below the other. Of more steps than people watch, some are left out,
    never the first or the last.

    Args:
      directory: Local or gs:// path of a run's samples.

    Returns:
      The path of the GIF; "" if there are not two steps to show.
    """
    found = [match for name in storage.list_names(directory) if (match := _PICTURE.fullmatch(name))]
    kinds = {match["what"] for match in found}
    shown = sorted(
        (int(match["step"]), int(match["index"]), match.string)
        for match in found
        if match["what"] == min(kinds)
    )
    steps = [list(rows) for _, rows in itertools.groupby(shown, key=lambda row: row[0])]
    whole = [rows for rows in steps if len(rows) == max(map(len, steps))]
    if len(whole) < 2:
        return ""
    count = min(len(whole), _MOST_FRAMES)
    chosen = [whole[index * (len(whole) - 1) // (count - 1)] for index in range(count)]
    frames = [_stack([storage.join(directory, row[2]) for row in rows]) for rows in chosen]
    content = io.BytesIO()
    frames[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[_MILLISECONDS] * (count - 1) + [_LAST_MILLISECONDS],
        loop=0,
    )
    path = storage.join(directory, NAME)
    storage.write_bytes(path, content.getvalue())
    return path


def _stack(paths: list[str]) -> Image.Image:
    """Return pictures below one another, small and of few colours."""
    pictures: list[Image.Image] = []
    for path in paths:
        with Image.open(io.BytesIO(storage.read_bytes(path))) as opened:
            height = round(opened.height * _WIDTH / opened.width)
            pictures.append(opened.convert("RGB").resize((_WIDTH, height)))
    whole = Image.new("RGB", (_WIDTH, sum(picture.height for picture in pictures)))
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole.quantize(_COLOURS)
