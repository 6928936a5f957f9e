"""Types that several threads meet for the first time, in a process of its own: it may crash."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys, threading
import msgspec
from kasuwa.base.http.contract import convert

class Anything:
    def is_valid(self, values): return True
    def validator(self, kind): return self

def new_kind(number):
    part = msgspec.defstruct(f"Part{number}", [("price", float), ("names", list[str])])
    return msgspec.defstruct(f"Whole{number}", [("parts", list[part]), ("main", part)])

def plainly(values, kind, checks):
    return msgspec.convert(values, kind)

sys.setswitchinterval(1e-6)
part = {"price": 1.5, "names": ["a"]}
values, converted = {"parts": [part] * 3, "main": part}, {"ours": convert, "plain": plainly}[sys.argv[1]]
threads, faults = 8, []
kinds = [new_kind(number) for number in range(200)]
together = threading.Barrier(threads)

def work():
    for kind in kinds:
        together.wait()
        try:
            assert converted(values, kind, Anything()).main.price == 1.5
        except BaseException as fault:
            faults.append(fault)

workers = [threading.Thread(target=work) for _ in range(threads)]
for one in workers: one.start()
for one in workers: one.join()
sys.exit(f"{len(faults)} faults, such as {faults[0]!r}" if faults else 0)
"""


@pytest.mark.parametrize(("converted", "is_safe"), [("ours", True), ("plain", False)])
def test_threads_that_meet_a_type_together_share_it(converted: str, is_safe: bool) -> None:
    """`plain` is the control; where it no longer crashes, what stands in its way is not needed any more."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, converted], capture_output=True, text=True)
    assert (done.returncode == 0) == is_safe, done.stderr
