"""Forms and file names made to hurt, for every operation that takes a picture as a file."""

from collections.abc import Iterator

from tests.faults.doors import FormDoor
from tests.faults.uploads import Call

_BOUNDARY = "----of-a-hostile-form"
_KIND = f"multipart/form-data; boundary={_BOUNDARY}"
_END = f"--{_BOUNDARY}--\r\n".encode()
_LONG = 1024 * 1024 * "a"

# Not a file of this machine: a server that takes a name for a path must not do harm here.
OURS = "kasuwa-7c1f.png"
_UP = "../" * 12
NAMES = [
    "..", ".", "/", "", " ", "~", f"~/{OURS}", f"~root/{OURS}", "-rf", "--help", "*", "?", "a" * 300,
    "a/" * 120 + OURS, f"../{OURS}", f"../../{OURS}", f"{_UP}{OURS}", f"{_UP}tmp/{OURS}", f"./../{OURS}",
    f"a/../../{OURS}", f"....//{OURS}", f"..././{OURS}", f"..;/{OURS}", f"/{OURS}", f"/tmp/{OURS}",
    f"//{OURS}",
    f"/proc/self/cwd/{OURS}", f"..\\{OURS}", f"..\\..\\{OURS}", f"\\{OURS}", f"C:\\{OURS}", f"C:{OURS}",
    f"\\\\host\\share\\{OURS}", f"a\\..\\..\\{OURS}", f"..%2f{OURS}", f"%2e%2e/{OURS}", f"%2e%2e%2f{OURS}",
    f"..%5c{OURS}", f"%252e%252e%252f{OURS}", f"..%c0%af{OURS}", "%00.png", "a.png\0.php",
    "a\r\nX-Injected: yes\r\n\r\n.png", "a.png\n", "a\tb.png", ".htaccess", ".env", ".git/config", "CON",
    "NUL.png", "aux.jpg", "COM1.png", "a.png::$DATA", "a.png.", "a.php.png", "a.php;.png", "index.html",
    "a\u202egnp.exe", f"\uff0e\uff0e/{OURS}", f"\u2024\u2024/{OURS}", f"..\uff0f{OURS}",
    "${jndi:ldap://127.0.0.1/a}", "`id`.png", "$(id).png", "'; DROP TABLE picture; --.png", "{{7*7}}.png",
    "<script>alert(1)</script>.png",
]  # fmt: skip


def form_of(field: str, name: str, content: bytes) -> tuple[str, bytes]:
    """Content-Type and body of a form with a file of that name, whose quotes alone are made harmless."""
    shown = name.replace('"', "%22").encode()
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="'.encode()
    return _KIND, head + shown + b'"\r\nContent-Type: image/png\r\n\r\n' + content + b"\r\n" + _END


def hostile_forms(door: FormDoor, png: bytes) -> Iterator[tuple[str, Call]]:
    """Each abuse in words, and the call. None of them may be taken."""
    file = _part(f'name="{door.field}"; filename="a.png"', png)
    inner = b'--inner\r\nContent-Disposition: file; filename="a.png"\r\n\r\n' + png + b"\r\n--inner--"
    nested = _part(
        f'name="{door.field}"; filename="a"', inner, "Content-Type: multipart/mixed; boundary=inner"
    )
    bodies = {
        "10,000 parts": b"".join(_part(f'name="f{n}"', b"v") for n in range(10_000)) + file + _END,
        "10,000 parts without a name": _part("", b"v") * 10_000 + file + _END,
        "a header of 1 MB": _part(f'name="{door.field}"; filename="a.png"', png, "X: " + _LONG) + _END,
        "a field's name of 1 MB": _part(f'name="{_LONG}"', b"v") + file + _END,
        "a file's name of 1 MB": _part(f'name="{door.field}"; filename="{_LONG}"', png) + _END,
        "10,000 headers": _part(f'name="{door.field}"; filename="a"', png, *["X: y"] * 10_000) + _END,
        "nested": nested + _END,
        "nested without an end": nested * 50,
        "a missing end": file,
        "cut in a header": file[:60],
        "nothing": b"",
        "the file twice": file + file + _END,
        "file and text of one name": file + _part(f'name="{door.field}"', b"v") + _END,
        "a text in place of the file": _part(f'name="{door.field}"', png) + _END,
        "another boundary": file.replace(b"of-a", b"of-b") + _END.replace(b"of-a", b"of-b"),
    }  # fmt: skip
    if door.field == "image_file":
        url = b"http://203.0.113.7/a.png"
        bodies["file and address"] = file + _part('name="image_url"', url) + _END
        bodies["address and file"] = _part('name="image_url"', url) + file + _END
        bodies["an address as a file"] = file + _part('name="image_url"; filename="a"', url) + _END
    for words, body in bodies.items():
        yield words, door.call(_KIND, body)
    yield "no boundary", door.call("multipart/form-data", file + _END)
    yield "an empty boundary", door.call("multipart/form-data; boundary=", file + _END)
    yield "a boundary of 1,000 letters", door.call(f"multipart/form-data; boundary={'b' * 1000}", file + _END)


def _part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"--{_BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"
