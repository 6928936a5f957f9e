"""What the server and its rendering processes say to each other: msgpack in frames, never pickle."""

import struct
from typing import Literal

import msgspec
from msgspec import Struct

Format = Literal["JPEG", "PNG", "GIF", "WEBP", "BMP", "WBMP", "XBM", "JPEG2000", "AVIF"]
ContentType = Literal["image/jpeg", "image/png", "image/webp"]

# A frame is its length, big-endian in four bytes, and then that many bytes of msgpack.
LENGTH = struct.Struct(">I")
CONTENT_LIMIT_BYTES = 32 * 1024 * 1024
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024


class Setup(Struct, frozen=True):
    """What a process is told once, when it starts."""

    parent_pid: int
    memory_bytes: int
    cpu_seconds: int
    sizes: dict[str, tuple[int, int]]


class Job(Struct, frozen=True):
    """One picture to render, and the formats this caller may bring."""

    content: bytes
    accepted: list[str]


class Rendition(Struct, frozen=True):
    """One picture to serve; `name` is a key of the sizes that were asked for."""

    name: str
    content_type: ContentType
    width_px: int
    height_px: int
    content: bytes


class Done(Struct, frozen=True, tag="done"):
    """The renditions, and the size of the picture that came in, upright."""

    format: Format
    width_px: int
    height_px: int
    renditions: list[Rendition]


class Refused(Struct, frozen=True, tag="refused"):
    """The file cannot be rendered: `reason` is a sentence for people."""

    reason: str
    too_big: bool = False


class Broken(Struct, frozen=True, tag="broken"):
    """A fault of our own; the file may be good."""

    reason: str


Answer = Done | Refused | Broken

encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.json.Decoder(Setup).decode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Done | Refused | Broken)
