"""Put the browser files that our pages load into `kasuwa/web/static/vendor`: `python -m tools.browser_files`.

They are other people's work: installed at set-up and packed into our wheel, never committed, never loaded
from somebody else's server.
"""

import json
import shutil
from pathlib import Path

from tools.npm_packages import Package, fetch, members
from tools.set_up import REQUIREMENTS, ROOT

VENDOR = ROOT / "kasuwa" / "web" / "static" / "vendor"
LIST = REQUIREMENTS / "browser.json"


def install(listed: Path = LIST, vendor: Path = VENDOR) -> list[Path]:
    """Write each listed file below `vendor`, replacing what was there; returns the files."""
    shutil.rmtree(vendor, ignore_errors=True)
    written = []
    for entry in json.loads(listed.read_text(encoding="utf-8"))["packages"]:
        tarball = fetch(Package(entry["name"], entry["version"], entry["integrity"]))
        for member, content in members(tarball, entry["files"]).items():
            target = vendor / entry["files"][member]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            written.append(target)
    (vendor / ".complete").touch()
    return written


def main() -> None:
    files = install()
    total_kb = sum(file.stat().st_size for file in files) // 1024
    print(f"browser files: {len(files)} in {VENDOR.relative_to(ROOT)}, {total_kb} KB")


if __name__ == "__main__":
    main()
