"""`python -m sidecarpolicy` is `sidecarpolicy`."""

from sidecarpolicy.cli import main

main()
