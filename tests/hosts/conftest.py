"""What tests of several hosts need."""

import subprocess

import bundle
import pytest


@pytest.fixture
def node():
    """`audiocloud node` of the same user, on this machine."""
    arguments = [bundle.PROGRAM, "node", "--json", "--metrics", "off"]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    # It says where it is, once it is there.
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
