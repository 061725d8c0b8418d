"""Contract prices: what one team pays in place of the list price, for a period."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from billing.pricing.charge import ONE
from billing.pricing.rates import Prices, Rates

# A contract's factor: from 1% of the list price to ten times it.
SMALLEST_FACTOR = ONE // 100
LARGEST_FACTOR = 10 * ONE

AnyRates = TypeVar("AnyRates", bound=Rates)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A team's contract as the relay holds it: a factor on the list price, or own `rates`.

    It is for one product, or for all where `product_id` is None. It applies from `starts_at` to
    before `ends_at`, or for good. `rates` name the contract as their version.
    """

    id: int
    team_id: int
    product_id: int | None
    starts_at: datetime
    ends_at: datetime | None
    factor_millionths: int = ONE
    rates: Prices | None = None


def with_factor(rates: AnyRates, contract: int, factor_millionths: int) -> AnyRates:
    """Return list rates at a contract's factor."""
    return msgspec.structs.replace(rates, contract=contract, contract_millionths=factor_millionths)


def contract_at(
    contracts: Iterable[Contract], product_id: int, moment: datetime
) -> Contract | None:
    """Return the contract that applies to a product at `moment` (aware), or None.

    One for the product comes before one for all products. A team has no two for the same at a time.
    """
    found = None
    for contract in contracts:
        if contract.starts_at <= moment and (contract.ends_at is None or moment < contract.ends_at):
            if contract.product_id == product_id:
                return contract
            if contract.product_id is None:
                found = contract
    return found


def prices_under(
    contracts: Sequence[Contract], product_id: int, prices: Sequence[Prices]
) -> tuple[Prices, ...]:
    """Return a product's price versions as the contracts' team pays them, the newest first.

    `prices` are the list's, the newest first. Each of the list's versions and each contract's start
    and end begins a new one, which keeps the id of the list's version. What isn't sold has no
    contract price.
    """
    mine = [each for each in contracts if each.product_id in (product_id, None)]
    if not mine:
        return tuple(prices)
    moments = {each.effective_from for each in prices}
    moments |= {each.starts_at for each in mine}
    moments |= {each.ends_at for each in mine if each.ends_at is not None}
    found = []
    for moment in sorted(moments, reverse=True):
        listed = next((each for each in prices if each.effective_from <= moment), None)
        if listed is not None:
            found.append(_priced(listed, contract_at(mine, product_id, moment), moment))
    return tuple(found)


def _priced(listed: Prices, contract: Contract | None, moment: datetime) -> Prices:
    if contract is None:
        if listed.effective_from == moment:
            return listed
        return msgspec.structs.replace(listed, effective_from=moment)
    if contract.rates is None:
        return msgspec.structs.replace(
            listed,
            effective_from=moment,
            contract=contract.id,
            contract_millionths=contract.factor_millionths,
        )
    return msgspec.structs.replace(
        contract.rates,
        version_id=listed.version_id,
        effective_from=moment,
        contract=contract.id,
    )
