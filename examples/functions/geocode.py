"""Looks up the coordinates of a city. An unknown city is an exception: the function's error, as the caller sees it.

A dozen cities in a dict stand in for a geocoding service.
"""

CITIES = {
    "Berlin": (52.52, 13.405),
    "Cairo": (30.044, 31.236),
    "Lima": (-12.046, -77.043),
    "London": (51.507, -0.128),
    "Mumbai": (19.076, 72.878),
    "Nairobi": (-1.286, 36.817),
    "New York": (40.713, -74.006),
    "Paris": (48.857, 2.352),
    "Sydney": (-33.869, 151.209),
    "São Paulo": (-23.551, -46.633),
    "Tokyo": (35.683, 139.767),
    "Vancouver": (49.283, -123.121),
}


class UnknownCity(KeyError):
    def __str__(self):
        return f"unknown city: {self.args[0]}"


def handler(event, context):
    city = event["city"]
    print(f"looking up {city}")
    if city not in CITIES:
        raise UnknownCity(city)
    lat, lon = CITIES[city]
    return {"city": city, "lat": lat, "lon": lon}
