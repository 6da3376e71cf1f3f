"""The VST3 preset format (VST 3 SDK, "Preset Format"), in which Ardour keeps a plug-in's state in its session.

A header (`VST3`, version, class id, offset of the list), the chunks, and a list of them: `Comp` is the plug-in's own.
"""

import struct

_HEADER = struct.Struct("<4si32sq")
_ENTRY = struct.Struct("<4sqq")


def read(data):
    """The class id and the chunks by name."""
    magic, _version, class_id, at = _HEADER.unpack_from(data)
    assert magic == b"VST3" and data[at : at + 4] == b"List"
    (count,) = struct.unpack_from("<i", data, at + 4)
    entries = [_ENTRY.unpack_from(data, at + 8 + index * _ENTRY.size) for index in range(count)]
    return class_id, {name: data[offset : offset + size] for name, offset, size in entries}


def write(class_id, chunks):
    """The bytes that `read` takes apart."""
    body, entries = b"", b""
    for name, chunk in chunks.items():
        entries += _ENTRY.pack(name, _HEADER.size + len(body), len(chunk))
        body += chunk
    header = _HEADER.pack(b"VST3", 1, class_id, _HEADER.size + len(body))
    return header + body + b"List" + struct.pack("<i", len(chunks)) + entries
