"""Reads {"document": ..., "cases": [[schema name, instance], ...]}; prints what is wrong, a line each case."""
import json
import sys

import jsonschema

given = json.load(sys.stdin)
for name, instance in given["cases"]:
    schema = {"$ref": f"#/components/schemas/{name}", "components": given["document"]["components"]}
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(instance))
    print("; ".join(f"{error.json_path}: {error.message}" for error in errors).replace("\n", " "))
