"""Remote FX in Ardour without a window: what a session exports through a node, with *Render: exact*.

A recording on a track is exported as it is, with an empty chain that a node plays, and with a chain of effects that once a
node and once the plug-in itself plays.
"""

import ardour_host
import numpy
import pytest
import remote_fx

SECONDS = 3
TAIL = 48_000
STRIP = ("eq", "compressor", "reverb")


class Session:
    """One that was recorded, in a folder."""

    def __init__(self, folder, environment):
        self.folder, self.exports = folder / "session", folder / "exports"
        self._environment = {**environment, "SESSION": str(self.folder), "SECONDS": str(SECONDS)}
        said = ardour_host.finish(ardour_host.run("record.lua", self._environment)).split("\n")
        (found,) = [line.split()[1:] for line in said if line.startswith("region")]
        self.at, self.start, self.frames = (int(float(number)) for number in found)

    def vary(self, name, *kinds, here):
        """Saves it under another name, with this chain, which the plug-in itself plays, or a node."""
        fields = {"chain": remote_fx.kept(*kinds)}
        render, here = {"string": "exact"}, {"bool": here}
        ardour_host.vary(self.folder / "first.ardour", name, fields, render=render, here=here)

    def export(self, name):
        """What it exports as it is saved under this name, and by how much its track is late."""
        frames = self.at + self.frames + TAIL
        of_export = {"NAME": name, "FOLDER": str(self.exports), "FRAMES": str(frames), "PRESET": ardour_host.PRESET}
        said = ardour_host.finish(ardour_host.run("export.lua", {**self._environment, **of_export}))
        (latency,) = [int(float(line.split()[1])) for line in said.split("\n") if line.startswith("latency")]
        exported = ardour_host.samples(self.exports / f"{name}.wav")
        assert exported.shape == (2, frames)
        return exported, latency

    def recorded(self):
        """The frames of its region, as they are in the files."""
        files = sorted((self.folder / "interchange" / "session" / "audiofiles").glob("Take1_Take-*.wav"))
        assert len(files) == 2, files
        rows = [ardour_host.samples(path)[0] for path in files]
        return numpy.stack(rows)[:, self.start : self.start + self.frames]


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path, ardour_host.home(tmp_path / "home"))


def different(one, other):
    return numpy.flatnonzero(numpy.any(one != other, axis=0))


@ardour_host.needed
def test_an_exact_export_through_a_node_is_what_run_here_gives_and_nothing_is_late(session, node):
    dry, latency = session.export("dry")
    assert latency == 0
    # The ends of a region are faded.
    inner = slice(1_000, session.frames - 1_000)
    recorded = session.recorded()[:, inner]
    assert numpy.array_equal(dry[:, session.at :][:, inner], recorded)
    assert numpy.max(numpy.abs(recorded)) > 0.1

    session.vary("empty", here=False)
    empty, latency = session.export("empty")
    late = different(empty, dry)
    assert latency > 0 and late.size == 0, f"{late.size} frames differ, from {late[:1]} on"
    print(f"late by {latency} frames, made up for to the frame")

    session.vary("here", *STRIP, here=True)
    session.vary("there", *STRIP, here=False)
    (here, _), (there, late_too) = session.export("here"), session.export("there")
    assert late_too == latency
    assert different(here, dry).size > session.frames // 2
    assert numpy.any(numpy.abs(here[:, -TAIL:]) > 1e-4), "no reverberation"
    wrong = different(here, there)
    assert wrong.size == 0, f"{wrong.size} of {here.shape[1]} frames differ, from {wrong[:1]} on"
