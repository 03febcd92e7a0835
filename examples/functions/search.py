"""Finds the cities whose names have a part in common: {"part": "ai"} finds Cairo and Mumbai.

How many there are is beside the list, and may be 0.
"""

CITIES = {
    "Berlin": (52.52, 13.405),
    "Cairo": (30.044, 31.236),
    "Lima": (-12.046, -77.043),
    "Mumbai": (19.076, 72.878),
    "Nairobi": (-1.286, 36.817),
    "Tokyo": (35.683, 139.767),
}


def handler(event, context):
    part = event["part"].lower()
    print(f"searching for {part}")
    items = [
        {"city": city, "position": {"lat": lat, "lon": lon}}
        for city, (lat, lon) in CITIES.items()
        if part in city.lower()
    ]
    return {"found": len(items), "items": items}
