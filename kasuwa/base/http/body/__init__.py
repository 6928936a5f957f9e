"""Reading request bodies: whole, into a file, as a form, or as a picture written as a JSON array."""

from kasuwa.base.http.body.byte_array import read_byte_array
from kasuwa.base.http.body.form import Form, UploadedFile, read_form
from kasuwa.base.http.body.spooled import spool_body
from kasuwa.base.http.body.whole import (
    BodyMemory,
    ClientDisconnected,
    body_chunks,
    media_type,
    read_body,
    require_media_type,
)

__all__ = [
    "BodyMemory",
    "ClientDisconnected",
    "Form",
    "UploadedFile",
    "body_chunks",
    "media_type",
    "read_body",
    "read_byte_array",
    "read_form",
    "require_media_type",
    "spool_body",
]
