"""The proofs: campaigns of faults, storms and races against the real program, all with `python -m tests.faults`.

A campaign is a module of this package with a name and one function:

    NAME: str
    def run(share: float) -> Row

`share` 1.0 is the full size, a smaller one takes evenly spread samples of it; never less than one of each scenario. A
campaign that cannot run here (no root, no loop devices, no supervisord) raises `table.Skipped` with the reason and the
command that would run it. `table.Row(what, size, holds, detail)` is what it found, with `counts=table.Counts(lost,
doubled, torn, nul)` where it counts lines. What fails is written to stderr as it is found, with what reproduces it. A
module is found by having both names, nothing needs to be registered.
"""
