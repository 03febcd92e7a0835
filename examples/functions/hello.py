"""Greets: the smallest function that shows payload and answer. Without a name it greets the world."""


def handler(event, context):
    name = event.get("name") or "world"
    print(f"greeting {name}")
    return {"greeting": f"Hello, {name}!"}
