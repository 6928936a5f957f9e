"""What every page has around its own words."""

import html

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""For pages without scripts and forms."""


def whole_page(title: str, body: str, *, style: str = "pages.css") -> bytes:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/{style}">
</head>
<body>
{body}
</body>
</html>
""".encode()
