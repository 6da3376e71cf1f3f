"""A peer of tempo Link that is not ours: PyPI's aalink. Orders come by standard input, a line each; to `ask` it answers
with the clock before and after (nanoseconds, CLOCK_MONOTONIC), beat, tempo, whether it plays, and how many others there are.
"""

import asyncio
import sys
import time

import aalink


def said(link):
    # Whoever is interrupted between the two clocks looks again.
    for _ in range(100):
        before = time.monotonic_ns()
        beat = link.beat
        after = time.monotonic_ns()
        if after - before < 100_000:
            break
    return f"{before} {after} {beat:.9f} {link.tempo:.6f} {int(link.playing)} {link.num_peers}"


async def main():
    loop = asyncio.get_running_loop()
    link = aalink.Link(float(sys.argv[1]))
    link.quantum = 4
    link.start_stop_sync_enabled = True
    link.enabled = True
    while order := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        match order:
            case ["ask"]:
                print(said(link), flush=True)
            case ["tempo", bpm]:
                link.tempo = float(bpm)
            case ["play"]:
                link.playing = True
            case ["stop"]:
                link.playing = False
            case ["leave"]:
                link.enabled = False
            case ["join"]:
                link.enabled = True


asyncio.run(main())
