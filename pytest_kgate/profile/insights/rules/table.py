"""All rules. Of two findings of equal weight, the one that stands first here comes first."""

from __future__ import annotations

from pytest_kgate.profile.insights.rules import of_bounds
from pytest_kgate.profile.insights.rules import of_occupancy
from pytest_kgate.profile.insights.rules import of_the_grid
from pytest_kgate.profile.insights.rules import of_waste

RULES = (*of_the_grid.RULES, *of_waste.RULES, *of_occupancy.RULES, *of_bounds.RULES)
