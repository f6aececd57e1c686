"""Judge of notes: what a transcriber that knows nothing of our frames hears in songs.

`make judge` runs it. `clips` writes held-out music as it was recorded and through frames and back;
`__main__` transcribes groups of clips, in an environment of its own; `measures` describes notes.
"""
