"""Writes words with capital letters: a Lambda UDF of Redshift with one argument. It returns JSON in a string, as AWS's samples do."""

import json


def handler(event, context):
    try:
        results = [None if text is None else text.title() for [text] in event["arguments"]]
        answer = {"success": True, "num_records": event["num_records"], "results": results}
    except Exception as error:
        answer = {"success": False, "error_msg": str(error)}
    return json.dumps(answer)
