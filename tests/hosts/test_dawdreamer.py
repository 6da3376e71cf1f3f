"""All plug-ins in DawDreamer, which loads a bundle's first class and renders as if in real time, only faster."""

import bundle
import dawdreamer
import numpy
import pytest

RATE = 48_000
BLOCK = 512
# What passes the track through; of Remote FX see test_remote_fx.py.
PLUG_INS = [name for name in bundle.SINGLE if name != "audiocloud Remote FX"]


def noise(frames=2 * RATE):
    samples = numpy.random.default_rng(8).integers(-(2**21), 2**21, (2, frames))
    return (samples / 2**23).astype(numpy.float32)


class Render:
    """A graph of a recording and a plug-in."""

    def __init__(self, path, source):
        self.engine = dawdreamer.RenderEngine(RATE, BLOCK)
        player = self.engine.make_playback_processor("player", source)
        self.plug_in = self.engine.make_plugin_processor("plug-in", str(path))
        self.engine.load_graph([(player, []), (self.plug_in, ["player"])])
        self.frames = source.shape[1]

    def run(self):
        self.engine.render(self.frames / RATE)
        # Receive's second output follows in further channels.
        return self.engine.get_audio()[:2, : self.frames]

    def parameter(self, name):
        described = self.plug_in.get_parameters_description()
        return next(entry["index"] for entry in described if entry["name"] == name)

    def get(self, name):
        return self.plug_in.get_parameter(self.parameter(name))

    def set(self, name, normalised):
        self.plug_in.set_parameter(self.parameter(name), normalised)


@pytest.mark.parametrize("name", PLUG_INS)
def test_audio_passes_bit_for_bit(name):
    source = noise()
    assert numpy.array_equal(Render(bundle.SINGLE[name], source).run(), source)


def test_of_several_classes_the_first_is_loaded():
    source = noise()
    render = Render(bundle.SUITE, source)
    assert render.plug_in.get_name() == "plug-in"
    assert numpy.array_equal(render.run(), source)
    assert render.get("Transmit") == 1.0


def test_receive_is_silent_where_it_replaces_and_has_no_stream():
    render = Render(bundle.SINGLE["audiocloud Receive"], noise())
    render.set("Mode", 1.0)
    # The change of mode is a short fade.
    assert not numpy.any(render.run()[:, RATE // 10 :])


@pytest.mark.parametrize("name, parameter, value", [("audiocloud Send", "Transmit", 0.0), ("audiocloud Receive", "Mode", 1.0), ("audiocloud Clock", "Role", 1.0)])
def test_state_is_restored(name, parameter, value, tmp_path):
    source = noise(RATE // 2)
    first = Render(bundle.SINGLE[name], source)
    first.set(parameter, value)
    first.run()
    first.plug_in.save_state(str(tmp_path / "state"))
    del first
    second = Render(bundle.SINGLE[name], source)
    assert second.get(parameter) != value
    second.plug_in.load_state(str(tmp_path / "state"))
    second.run()
    assert second.get(parameter) == value


def test_graphs_come_and_go():
    source = noise(RATE // 10)
    for _ in range(10):
        for name in PLUG_INS:
            path = bundle.SINGLE[name]
            assert numpy.array_equal(Render(path, source).run(), source)
