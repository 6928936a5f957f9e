"""`python -m kasuwa` is the `kasuwa` command."""

from kasuwa.cli import main

main()
