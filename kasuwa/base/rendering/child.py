"""A rendering process: reads jobs from stdin, writes answers to stdout, until stdin ends."""

import sys
from typing import BinaryIO

from kasuwa.base.rendering import confine, messages
from kasuwa.base.rendering.decode import NotRendered, decode, prepare
from kasuwa.base.rendering.encode import render


def main() -> None:
    """Serve jobs; the one argument is a `messages.Setup` in JSON."""
    setup = messages.decode_setup(sys.argv[1])
    confine.outlive_nobody(setup.parent_pid)
    prepare()
    confine.confine(setup.memory_bytes)
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    while (frame := _read_frame(jobs)) is not None:
        confine.allow_cpu_seconds(setup.cpu_seconds)
        job = messages.decode_job(frame)
        del frame
        answer = messages.encode(_answer(job, setup.sizes))
        del job
        answers.write(messages.LENGTH.pack(len(answer)))
        answers.write(answer)
        answers.flush()


def _read_frame(jobs: BinaryIO) -> bytes | None:
    length = jobs.read(messages.LENGTH.size)
    if not length:
        return None
    return jobs.read(messages.LENGTH.unpack(length)[0])


def _answer(job: messages.Job, sizes: dict[str, tuple[int, int]]) -> messages.Answer:
    largest = max(width for width, _ in sizes.values()), max(height for _, height in sizes.values())
    try:
        decoded = decode(job.content, job.accepted, largest)
        renditions = render(decoded, sizes)
    except NotRendered as no:
        return messages.Refused(no.reason, no.too_big)
    except MemoryError:
        return messages.Refused("Rendering the picture needs more memory than is allowed.", too_big=True)
    except Exception as error:
        return messages.Broken(f"{type(error).__name__}: {error}")
    return messages.Done(decoded.format, decoded.width_px, decoded.height_px, renditions)
