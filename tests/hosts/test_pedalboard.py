"""All plug-ins in pedalboard, which selects a class by name and renders offline."""

import bundle
import numpy
import pedalboard
import plugin_state
import pytest

RATE = 48_000
PLUG_INS = ["audiocloud Send", "audiocloud Receive", "audiocloud Clock"]


def load(name):
    return pedalboard.load_plugin(str(bundle.SUITE), plugin_name=name)


def noise(channels, frames=2 * RATE):
    """On the 24-bit grid, like a recording."""
    samples = numpy.random.default_rng(7).integers(-(2**21), 2**21, (channels, frames))
    return (samples / 2**23).astype(numpy.float32)


def test_all_are_found():
    names = pedalboard.VST3Plugin.get_plugin_names_for_file(str(bundle.SUITE))
    assert set(names) == set([*PLUG_INS, "audiocloud Remote FX"])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("block", [64, 480, 8192])
def test_send_passes_audio_through_bit_for_bit(channels, block):
    source = noise(channels)
    played = load("audiocloud Send")(source, RATE, buffer_size=block)
    assert numpy.array_equal(played, source)


@pytest.mark.parametrize("name", PLUG_INS)
@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_rates(name, rate):
    source = noise(2, rate // 2)
    assert numpy.array_equal(load(name)(source, rate), source)


def test_an_offline_render_publishes_nothing():
    send = load("audiocloud Send")
    send(noise(2), RATE)
    assert bundle.published() == []


def test_receive_offline_adds_nothing():
    source = noise(2)
    assert numpy.array_equal(load("audiocloud Receive")(source, RATE), source)


def test_receive_offline_is_silent_where_it_replaces():
    receive = load("audiocloud Receive")
    receive.mode = "Replace"
    played = receive(noise(2), RATE)
    # The change of mode is a short fade.
    assert not numpy.any(played[:, RATE // 10 :])


def test_send_restores_its_state():
    first = load("audiocloud Send")
    first.transmit = False
    first(noise(2), RATE)
    kept, stream = first.raw_state, plugin_state.stream(first.raw_state)
    assert len(stream["stream"]) == 16 and stream["schema"] == 1
    del first
    second = load("audiocloud Send")
    assert second.transmit
    second.raw_state = kept
    second(noise(2), RATE)
    assert not second.transmit
    assert plugin_state.stream(second.raw_state) == stream


def test_receive_restores_its_state():
    first = load("audiocloud Receive")
    first.mode, first.level, first.playout_delay_ms = "Replace", -6.0, 25.0
    # JUCE hands parameters over with the next block.
    first(noise(2), RATE)
    kept = plugin_state.read(first.raw_state)
    link = {"schema": 1, "publisher": "ab" * 32, "stream": "0123456789abcdef", "name": "Piano", "of a later version": [1]}
    kept["fields"]["stream"] = plugin_state.packed(link)
    state = plugin_state.write(first.raw_state, kept)
    del first
    second = load("audiocloud Receive")
    second.raw_state = state
    second(noise(2), RATE)
    assert second.mode == "Replace"
    assert second.level == pytest.approx(-6.0)
    assert second.playout_delay_ms == pytest.approx(25.0, abs=0.06)
    # Unknown fields survive.
    assert plugin_state.stream(second.raw_state) == link


def test_many_instances_come_and_go():
    source = noise(2, RATE // 10)
    for _ in range(10):
        plug_ins = [load(name) for name in PLUG_INS]
        for plug_in in plug_ins:
            assert numpy.array_equal(plug_in(source, RATE), source)
