"""Scores the risk of an order from 0 to 1. The event is a row of an orders table as JSON.

Fields that are missing or null count as harmless: amount, country, card_country, customer_since (a date), ordered_on.
"""

import datetime


def handler(event, context):
    reasons = []
    risk = 0.05
    amount = float(event.get("amount") or 0)
    if amount > 1000:
        risk += 0.3
        reasons.append("large amount")
    if event.get("card_country") and event.get("card_country") != event.get("country"):
        risk += 0.4
        reasons.append("card from another country")
    if is_new_customer(event.get("customer_since"), event.get("ordered_on")):
        risk += 0.2
        reasons.append("new customer")
    risk = round(risk, 2)
    print(f"order {event.get('id')}: risk {risk}")
    return {"id": event.get("id"), "risk": risk, "reasons": reasons}


def is_new_customer(since, ordered_on):
    """A customer for less than 30 days at the time of the order; the clock has no say, so answers repeat."""
    if not since or not ordered_on:
        return False
    age = datetime.date.fromisoformat(ordered_on[:10]) - datetime.date.fromisoformat(since[:10])
    return age.days < 30
