response = client.chat.completions.create(
    model="zai-org/GLM-4.7-FP8",
    messages=[
        {"role": "user", "content": "Extract: John is 30 years old and lives in Prague."}
    ],
    response_format={
        "type": "json_schema",
        "json_schema": {
            "name": "person_info",
            "schema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "age": {"type": "integer"},
                    "city": {"type": "string"}
                },
                "required": ["name", "age", "city"]
            }
        }
    }
)
