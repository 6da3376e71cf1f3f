"""The factory of the built library says of itself what `moduleinfo.json` says of it."""

import ctypes
import json

import bundle
import pytest


class FactoryInfo(ctypes.Structure):
    _fields_ = [
        ("vendor", ctypes.c_char * 64),
        ("url", ctypes.c_char * 256),
        ("email", ctypes.c_char * 128),
        ("flags", ctypes.c_int32),
    ]


class ClassInfo2(ctypes.Structure):
    _fields_ = [
        ("cid", ctypes.c_uint8 * 16),
        ("cardinality", ctypes.c_int32),
        ("category", ctypes.c_char * 32),
        ("name", ctypes.c_char * 64),
        ("class_flags", ctypes.c_uint32),
        ("sub_categories", ctypes.c_char * 128),
        ("vendor", ctypes.c_char * 64),
        ("version", ctypes.c_char * 64),
        ("sdk_version", ctypes.c_char * 64),
    ]


# Places in the table of functions of IPluginFactory, and of IPluginFactory2 after it.
QUERY_INTERFACE, RELEASE, GET_FACTORY_INFO, COUNT_CLASSES, GET_CLASS_INFO_2 = 0, 2, 3, 4, 7
FACTORY_2 = bytes.fromhex("0007B650F24B4C0BA464EDB9F00B2ABB")


def call(interface, place, *arguments):
    table = ctypes.cast(interface, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    types = [type(argument) for argument in arguments]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *types)(table[place])
    return function(interface, *arguments)


def pointer(structure):
    return ctypes.c_void_p(ctypes.addressof(structure))


def asked(library):
    """What the factory of `library` answers."""
    module = ctypes.CDLL(str(library))
    module.ModuleEntry.argtypes, module.ModuleEntry.restype = [ctypes.c_void_p], ctypes.c_bool
    module.GetPluginFactory.restype = ctypes.c_void_p
    assert module.ModuleEntry(module._handle)
    factory = module.GetPluginFactory()
    info = FactoryInfo()
    assert call(factory, GET_FACTORY_INFO, pointer(info)) == 0
    second = ctypes.c_void_p()
    iid = ctypes.create_string_buffer(FACTORY_2, 16)
    assert call(factory, QUERY_INTERFACE, pointer(iid), pointer(second)) == 0
    classes = []
    for index in range(call(factory, COUNT_CLASSES)):
        class_info = ClassInfo2()
        assert call(second.value, GET_CLASS_INFO_2, ctypes.c_int32(index), pointer(class_info)) == 0
        classes.append(class_info)
    call(second.value, RELEASE)
    call(factory, RELEASE)
    assert module.ModuleExit()
    return info, classes


BUNDLES = {"suite": bundle.SUITE, **bundle.SINGLE}


@pytest.mark.parametrize("name", BUNDLES)
def test_module_info_is_what_the_factory_says(name):
    contents = BUNDLES[name] / "Contents"
    told = json.loads((contents / "Resources" / "moduleinfo.json").read_text())
    info, classes = asked(contents / "x86_64-linux" / "audiocloud.so")
    factory = told["Factory Info"]
    assert factory["Vendor"] == info.vendor.decode()
    assert factory["URL"] == info.url.decode()
    assert factory["E-Mail"] == info.email.decode()
    assert factory["Flags"]["Unicode"] == bool(info.flags & 16)
    assert told["Classes"] == [
        {
            "CID": bytes(found.cid).hex().upper(),
            "Category": found.category.decode(),
            "Name": found.name.decode(),
            "Vendor": found.vendor.decode(),
            "Version": found.version.decode(),
            "SDKVersion": found.sdk_version.decode(),
            "Sub Categories": found.sub_categories.decode().split("|"),
            "Class Flags": found.class_flags,
            "Cardinality": found.cardinality,
            "Snapshots": [],
        }
        for found in classes
    ]
    assert told["Version"] == classes[0].version.decode()
