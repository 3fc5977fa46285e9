"""The ESP32's esp32 module for a VM: NVS is a file of the node, written whole and renamed."""

import binascii as _binascii
import json as _json
import os as _os

import _host

HEAP_DATA = 4
HEAP_EXEC = 1

_ESP_ERR_NVS_NOT_FOUND = -0x1102


def idf_heap_info(capabilities):
    return [(160000, 96000, 65536, 90000)]


def raw_temperature():
    return 128


class NVS:
    """One namespace; changes are kept by commit() alone."""

    def __init__(self, namespace):
        self._file = _host.NODE_FOLDER + "/nvs-" + namespace + ".json"
        try:
            with open(self._file) as stored:
                self._values = _json.load(stored)
        except OSError:
            self._values = {}

    def _get(self, key):
        if key not in self._values:
            raise OSError(_ESP_ERR_NVS_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        return self._values[key]

    def get_i32(self, key):
        return int(self._get(key))

    def set_i32(self, key, value):
        self._values[key] = value

    def get_blob(self, key, buffer):
        data = _binascii.unhexlify(self._get(key))
        buffer[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        self._values[key] = _binascii.hexlify(value).decode()

    def erase_key(self, key):
        self._get(key)
        del self._values[key]

    def commit(self):
        with open(self._file + ".new", "w") as stored:
            _json.dump(self._values, stored)
        _os.rename(self._file + ".new", self._file)
