"""The policy of a scan with one rule broken, for the tests of the policy alone and for those at simulated sites."""

from raythena.engine.scan_policy import ScanPolicy


class ToldAsTheyCome(ScanPolicy):
    """Results are told to the searcher at once, in the order of their coming."""

    def settled(self, outcome):
        super().settled(outcome)
        if self._early.pop(outcome.number, None) is not None:
            self._searcher.tell(outcome)

    def _tell_up_to(self, horizon):
        """Everything was told."""


class ToldTooMuch(ScanPolicy):
    """The searcher hears of everything that is settled without a gap, not only of what the point may depend on."""

    def _horizon(self, number):
        return self._unsettled_from - 1


class BoundsOfEverything(ScanPolicy):
    """Bounds are made of all results that have come."""

    def settled(self, outcome):
        super().settled(outcome)
        if outcome.values is not None:
            self._bounds.add(outcome.number, outcome.reports, 1.0)
