"""`python -m ccbench`, which is what `accelerate launch -m ccbench` starts."""

from ccbench.cli import main

main()
