"""Values as a back end keeps them whose objects may have no more bytes than the values themselves: AWS and GCP, 65,536 bytes.

As a rule that is JSON, for other tools to read. Values near the limit do not fit with JSON's quotes and escapes; they are packed:
a marker, and MessagePack compressed by zlib. UTF-8 leaves at least 3% for that to gain, whatever the text is, for not every sequence
of bytes is a text.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import msgspec

from strongroom.errors import TooLarge, ValuesCorrupt
from strongroom.secrets_stores.base import size_of

_MARKER = b"strongroom-packed-1\0"
_MOST = 4 << 20
"""Longer than any values that were packed, however well they were compressed."""


def pack(values: Mapping[str, str], max_bytes: int) -> str | bytes:
    """JSON as a text if it fits into so many bytes, or else packed bytes. `TooLarge`."""
    text = msgspec.json.encode(values)
    if len(text) <= max_bytes:
        return text.decode()
    packed = _MARKER + zlib.compress(msgspec.msgpack.encode(values), 9)
    if len(packed) > max_bytes:
        raise TooLarge(f"keys and values are {size_of(values):,} bytes, and too dense to be packed into {max_bytes:,}")
    return packed


def unpack(data: str | bytes) -> dict[str, str]:
    """The values again, `ValuesCorrupt` if it is nothing that was packed here."""
    try:
        if isinstance(data, bytes) and data.startswith(_MARKER):
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(data[len(_MARKER) :], _MOST)
            if unpacker.eof and not unpacker.unused_data:
                return _from_messagepack(text)
        else:
            return _from_json(data)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError):  # the last one holds what lies there
        pass
    raise ValuesCorrupt("what lies there is not what strongroom writes")


_from_json: Callable[[str | bytes], dict[str, str]] = msgspec.json.Decoder(dict[str, str]).decode
_from_messagepack: Callable[[bytes], dict[str, str]] = msgspec.msgpack.Decoder(dict[str, str]).decode
